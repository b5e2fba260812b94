// Starts `mfv lsp` for recipes, and runs them in a terminal.
"use strict";

const vscode = require("vscode");
const { LanguageClient } = require("vscode-languageclient/node");
const { clientOptions, serverOptions, terminalLine } = require("./options");

/** @type {LanguageClient | undefined} */
let client;

function configured() {
  return vscode.workspace.getConfiguration("mfv").get("command");
}

function folderOf(uri) {
  const folders = vscode.workspace.workspaceFolders;
  const own = uri && vscode.workspace.getWorkspaceFolder(uri);
  return (own ?? (folders && folders[0]))?.uri.fsPath;
}

async function start() {
  const server = serverOptions(configured(), folderOf());
  client = new LanguageClient("mfv", "mfv", server, {
    ...clientOptions(),
    synchronize: {
      fileEvents: vscode.workspace.createFileSystemWatcher("**/{mfv.lock,*.mfv,*.csv,*.json,*.jsonl}"),
    },
  });
  try {
    await client.start();
  } catch (error) {
    const said = error instanceof Error ? error.message : String(error);
    const choice = await vscode.window.showErrorMessage(
      `\`${server.command} lsp\` does not start: ${said}. ` +
        "Install it with pip install 'mfv-dsl[lsp]', and name the command in the setting mfv.command.",
      "Open the setting"
    );
    if (choice) vscode.commands.executeCommand("workbench.action.openSettings", "mfv.command");
  }
}

async function stop() {
  const running = client;
  client = undefined;
  await running?.stop().catch(() => undefined);
}

/** Run a subcommand of mfv on a recipe in a terminal, after its file was saved. */
async function inTerminal(name, uri, ...more) {
  const file = uri ?? vscode.window.activeTextEditor?.document.uri;
  if (!file) return;
  const document = await vscode.workspace.openTextDocument(file);
  if (document.isDirty && !(await document.save())) return;
  const folder = folderOf(file);
  const terminal =
    vscode.window.terminals.find((other) => other.name === "mfv" && !other.exitStatus) ??
    vscode.window.createTerminal({ name: "mfv", cwd: folder });
  terminal.show(true);
  terminal.sendText(terminalLine(configured(), folder, [name, file.fsPath, ...more]));
}

async function activate(context) {
  const register = (name, act) =>
    context.subscriptions.push(vscode.commands.registerCommand(name, act));
  register("mfv.runBlock", (uri, block) =>
    inTerminal("run", vscode.Uri.parse(uri), "--only", block)
  );
  register("mfv.run", () => inTerminal("run"));
  register("mfv.plan", () => inTerminal("plan"));
  register("mfv.restart", async () => {
    await stop();
    await start();
  });
  context.subscriptions.push(
    vscode.workspace.onDidChangeConfiguration(async (change) => {
      if (!change.affectsConfiguration("mfv.command")) return;
      await stop();
      await start();
    })
  );
  await start();
}

module.exports = { activate, deactivate: stop };
