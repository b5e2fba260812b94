vim.filetype.add({ extension = { mfv = "mfv" } })
