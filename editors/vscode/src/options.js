// How the language server is started.  No part of VS Code is needed here, so that it can be tested.
"use strict";

/**
 * The command and arguments of a subcommand of mfv.
 *
 * @param {string[]} configured the setting `mfv.command`
 * @param {string | undefined} folder the workspace's folder
 * @param {string[]} rest the subcommand with its arguments
 */
function commandOf(configured, folder, rest) {
  const words = configured && configured.length ? configured : ["mfv"];
  const [command, ...before] = words.map((word) =>
    word.replaceAll("${workspaceFolder}", folder ?? ".")
  );
  return { command, args: [...before, ...rest] };
}

/** What vscode-languageclient is given as server options. */
function serverOptions(configured, folder) {
  return { ...commandOf(configured, folder, ["lsp"]), options: folder ? { cwd: folder } : {} };
}

/** What it is given as client options, but for what only VS Code has. */
function clientOptions() {
  return {
    documentSelector: [{ language: "mfv" }],
    initializationOptions: { runBlock: true },
  };
}

/** A word as a shell takes it. */
function quoted(word) {
  if (/^[\w@%+=:,./-]+$/.test(word)) return word;
  if (process.platform === "win32") return `"${word.replaceAll('"', '""')}"`;
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

/** The line that a terminal is given to run one block of a recipe, or the whole. */
function terminalLine(configured, folder, rest) {
  const { command, args } = commandOf(configured, folder, rest);
  return [command, ...args].map(quoted).join(" ");
}

module.exports = { clientOptions, commandOf, quoted, serverOptions, terminalLine };
