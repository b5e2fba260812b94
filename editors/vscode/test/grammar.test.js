// The TextMate grammar, by VS Code's own engine, against the tokens of the language's lexer.
"use strict";

const assert = require("node:assert");
const fs = require("node:fs");
const path = require("node:path");
const test = require("node:test");
const oniguruma = require("vscode-oniguruma");
const textmate = require("vscode-textmate");

/** What scope a token of each kind must have. */
const SCOPES = {
  COMMENT: /comment\.line/, STRING: /string\.quoted/, INT: /constant\.numeric\.integer/,
  FLOAT: /constant\.numeric\.float/, HEAD: /constant\.other\.head/,
  NAME: /keyword|entity\.name|variable|support|constant\.language/,
  DOTS: /keyword\.operator/, PLUS: /keyword\.operator/, MINUS: /keyword\.operator/,
  STAR: /keyword\.operator/, SLASH: /keyword\.operator/, EQUAL: /keyword\.operator/,
};

async function grammar() {
  const wasm = fs.readFileSync(require.resolve("vscode-oniguruma/release/onig.wasm"));
  await oniguruma.loadWASM(wasm.buffer.slice(wasm.byteOffset, wasm.byteOffset + wasm.byteLength));
  const file = path.join(__dirname, "..", "syntaxes", "mfv.tmLanguage.json");
  const registry = new textmate.Registry({
    onigLib: Promise.resolve({
      createOnigScanner: (patterns) => new oniguruma.OnigScanner(patterns),
      createOnigString: (text) => new oniguruma.OnigString(text),
    }),
    loadGrammar: async () => textmate.parseRawGrammar(fs.readFileSync(file, "utf8"), file),
  });
  return registry.loadGrammar("source.mfv");
}

const recipes = process.env.MFV_TOKENS ? JSON.parse(fs.readFileSync(process.env.MFV_TOKENS)) : [];

test("the grammar has the tokens of the lexer", { skip: !recipes.length && "MFV_TOKENS names no file" }, async () => {
  const mfv = await grammar();
  for (const { name, lines } of recipes) {
    let stack = textmate.INITIAL;
    for (const [number, { text, tokens }] of lines.entries()) {
      const result = mfv.tokenizeLine(text, stack);
      stack = result.ruleStack;
      const borders = new Set(result.tokens.flatMap((t) => [t.startIndex, t.endIndex]));
      for (const [kind, start, end] of tokens) {
        const where = `${name}:${number + 1}: ${kind} ${JSON.stringify(text.slice(start, end))}`;
        assert.ok(borders.has(start) && borders.has(end), `${where} has other borders`);
        const own = result.tokens.find((t) => t.startIndex <= start && start < t.endIndex);
        const scopes = own.scopes.join(" ");
        assert.match(scopes, SCOPES[kind] ?? /punctuation|keyword\.operator/, where);
        assert.doesNotMatch(scopes, /invalid/, where);
      }
    }
  }
});

test("what is no word of the language is marked", async () => {
  const mfv = await grammar();
  const scopes = (text) =>
    mfv.tokenizeLine(text, textmate.INITIAL).tokens.map((t) => t.scopes.at(-1)).join(" ");
  assert.match(scopes('vector v = load("open'), /invalid\.illegal\.string/);
  assert.match(scopes("vector v = 2fv(left)"), /invalid\.illegal\.number/);
  assert.match(scopes("eval raw {"), /keyword\.declaration/);
  assert.doesNotMatch(scopes("  heads = spatial"), /keyword\.declaration/);
  assert.match(scopes("vector v(r) = match r {"), /keyword\.control/);
  assert.match(scopes("  else: fv(r)"), /keyword\.control/);
  assert.match(scopes("defaults for tune {"), /keyword\.control/);
  assert.match(scopes('use "a.mfv" as c'), /keyword\.control/);
  assert.doesNotMatch(scopes("eval match { else = for }"), /keyword\.control/);
  assert.match(scopes("vector eval = fv(left)"), /entity\.name\.type/);
});
