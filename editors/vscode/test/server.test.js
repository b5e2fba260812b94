// The server, started as the extension starts it, and asked as VS Code's client asks it.
"use strict";

const assert = require("node:assert");
const { spawn } = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const test = require("node:test");
const { pathToFileURL } = require("node:url");
const protocol = require("vscode-languageserver-protocol/node");
const { clientOptions, quoted, serverOptions, terminalLine } = require("../src/options");

const command = JSON.parse(process.env.MFV_COMMAND ?? '["mfv"]');
const text = [
  "mfv 1", "# \u{1F600} astral", "model m = tiny()", "dataset d = scenes(relations=[left, right])",
  "eval raw { add = fv(lft), layer = 1 }  # \u{1F600}", "",
].join("\n");

test("the server speaks with the protocol's own client", { timeout: 120_000 }, async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "mfv-"));
  const server = serverOptions(command, folder);
  const process_ = spawn(server.command, server.args, { ...server.options, stdio: "pipe" });
  let said = "";
  process_.stderr.on("data", (data) => (said += data));
  const connection = protocol.createProtocolConnection(
    new protocol.StreamMessageReader(process_.stdout),
    new protocol.StreamMessageWriter(process_.stdin)
  );
  const published = [];
  const waiting = [];
  connection.onNotification(protocol.PublishDiagnosticsNotification.type, (params) => {
    published.push(params);
    waiting.splice(0).forEach((go) => go());
  });
  async function diagnosed(version) {
    for (;;) {
      const found = published.find((params) => params.version === version);
      if (found) return found.diagnostics;
      await new Promise((go) => waiting.push(go));
    }
  }
  connection.onRequest("workspace/codeLens/refresh", () => null);
  connection.listen();
  const rootUri = pathToFileURL(folder).href;
  const { capabilities, serverInfo } = await connection.sendRequest(
    protocol.InitializeRequest.type,
    {
      processId: process.pid,
      rootUri,
      workspaceFolders: [{ uri: rootUri, name: "recipes" }],
      initializationOptions: clientOptions().initializationOptions,
      capabilities: {
        general: { positionEncodings: ["utf-16"] },
        textDocument: { completion: { completionItem: { snippetSupport: true } } },
      },
    }
  );
  assert.equal(serverInfo.name, "mfv");
  assert.equal(capabilities.positionEncoding, "utf-16");
  for (const name of [
    "completionProvider", "hoverProvider", "definitionProvider", "referencesProvider",
    "renameProvider", "documentSymbolProvider", "foldingRangeProvider", "codeActionProvider",
    "documentFormattingProvider", "semanticTokensProvider", "codeLensProvider",
    "signatureHelpProvider", "documentHighlightProvider",
  ]) {
    assert.ok(capabilities[name], name);
  }
  await connection.sendNotification(protocol.InitializedNotification.type, {});
  const uri = pathToFileURL(path.join(folder, "recipe.mfv")).href;
  await connection.sendNotification(protocol.DidOpenTextDocumentNotification.type, {
    textDocument: { uri, languageId: "mfv", version: 1, text },
  });
  const [wrong] = await diagnosed(1);
  assert.equal(wrong.code, "MFV2001");
  assert.deepEqual(wrong.range, {
    start: { line: 4, character: 20 }, end: { line: 4, character: 23 },
  });
  const actions = await connection.sendRequest(protocol.CodeActionRequest.type, {
    textDocument: { uri }, range: wrong.range, context: { diagnostics: [wrong] },
  });
  const [edit] = actions[0].edit.changes[uri];
  assert.equal(edit.newText, "left");
  await connection.sendNotification(protocol.DidChangeTextDocumentNotification.type, {
    textDocument: { uri, version: 2 },
    contentChanges: [{ range: edit.range, text: edit.newText }],
  });
  assert.deepEqual(await diagnosed(2), []);
  const lenses = await connection.sendRequest(protocol.CodeLensRequest.type, {
    textDocument: { uri },
  });
  assert.deepEqual(lenses[0].command.arguments, [uri, "raw"]);
  assert.equal(lenses[0].command.command, "mfv.runBlock");
  const completion = await connection.sendRequest(protocol.CompletionRequest.type, {
    textDocument: { uri }, position: { line: 4, character: 17 },
  });
  assert.ok(completion.items.some((item) => item.label === "fv"));
  await connection.sendRequest(protocol.ShutdownRequest.type);
  await connection.sendNotification(protocol.ExitNotification.type);
  const code = await new Promise((done) => process_.on("exit", done));
  connection.dispose();
  assert.equal(code, 0, said);
  assert.equal(said, "");
});

test("the setting names the command, and the folder in it", () => {
  assert.deepEqual(serverOptions(["${workspaceFolder}/.venv/bin/mfv"], "/a b").command, "/a b/.venv/bin/mfv");
  assert.deepEqual(serverOptions(undefined, undefined), { command: "mfv", args: ["lsp"], options: {} });
});

test("a terminal is given words that its shell leaves alone", { skip: process.platform === "win32" }, () => {
  assert.equal(quoted("it's a $HOME"), `'it'\\''s a $HOME'`);
  assert.equal(
    terminalLine(["mfv"], "/x", ["run", "/a b.mfv", "--only", "raw"]),
    "mfv run '/a b.mfv' --only raw"
  );
});

test("the extension has the files that its manifest names", () => {
  const root = path.join(__dirname, "..");
  const manifest = JSON.parse(fs.readFileSync(path.join(root, "package.json"), "utf8"));
  const { languages, grammars, snippets } = manifest.contributes;
  for (const file of [languages[0].configuration, grammars[0].path, snippets[0].path]) {
    JSON.parse(fs.readFileSync(path.join(root, file), "utf8"));
  }
});
