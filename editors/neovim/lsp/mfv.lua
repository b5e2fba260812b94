-- Neovim 0.11 or newer: `vim.lsp.enable("mfv")` starts this server for recipes.
return {
  cmd = { "mfv", "lsp" },
  filetypes = { "mfv" },
  -- paths in recipes are from the folder in which they are run
  root_markers = { ".mfv", "mfv.lock", ".git" },
}
