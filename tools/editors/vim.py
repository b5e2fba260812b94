"""Vim's syntax file of recipes, which Neovim reads as well, and Emacs's words."""

from __future__ import annotations

from tools.editors.words import CONSTRUCTORS, FUNCTIONS, ITEMS, VALUES


def syntax() -> str:
    """``syntax/mfv.vim``."""
    item = f"^\\s*\\zs\\%({_either((*ITEMS, 'mfv'))}\\)\\>"
    follows = '\\ze\\s*\\%(\\s[A-Za-z0-9_\\"]\\|{\\)'
    return f"""\
" Written from the registry by python -m tools.editors. Do not edit.
if exists("b:current_syntax")
  finish
endif

syntax match   mfvOperator  "[-+*/|&=]\\|\\.\\."
syntax match   mfvName      "\\<\\h\\w*\\>"
syntax match   mfvValue     "\\<\\%({_either(VALUES)}\\)\\>"
syntax match   mfvCall      "\\<\\h\\w*\\>\\ze\\s*("
syntax match   mfvFunction  "\\<\\%({_either((*FUNCTIONS, *CONSTRUCTORS))}\\)\\>\\ze\\s*("
syntax match   mfvAttribute "\\<\\h\\w*\\>\\ze\\s*=[^=]"
syntax match   mfvItem      "{item}{follows}"
syntax match   mfvControl   "\\<match\\>\\ze\\s\\+\\h\\w*\\s*{{"
syntax match   mfvControl   "\\<else\\>\\ze\\s*:"
syntax match   mfvControl   "\\%(^\\s*defaults\\s\\+\\)\\@<=for\\>"
syntax match   mfvControl   +\\%("\\s\\+\\)\\@<=as\\>+
syntax match   mfvNumber    "\\<\\d\\+\\%(\\.\\d\\+\\)\\?\\%([eE][+-]\\?\\d\\+\\)\\?\\>"
syntax match   mfvHead      "\\<L\\d\\+H\\d\\+\\>"
syntax region  mfvString    start=+"+ skip=+\\\\.+ end=+"+ oneline
syntax match   mfvComment   "#.*$" contains=@Spell

highlight default link mfvItem      Keyword
highlight default link mfvControl   Keyword
highlight default link mfvFunction  Function
highlight default link mfvCall      Identifier
highlight default link mfvAttribute Type
highlight default link mfvValue     Constant
highlight default link mfvNumber    Number
highlight default link mfvHead      Number
highlight default link mfvString    String
highlight default link mfvComment   Comment
highlight default link mfvOperator  Operator

let b:current_syntax = "mfv"
"""


def _either(words: tuple[str, ...]) -> str:
    return "\\|".join(sorted(words, key=len, reverse=True))


def emacs() -> str:
    """``mfv-mode.el``."""
    quoted = {
        name: "'(" + " ".join(f'"{word}"' for word in words) + ")"
        for name, words in {
            "items": (*ITEMS, "mfv"), "functions": (*FUNCTIONS, *CONSTRUCTORS), "values": VALUES,
        }.items()
    }  # fmt: skip
    return f"""\
;;; mfv-mode.el --- Recipes of mfv-dsl, with the language server  -*- lexical-binding: t; -*-

;; Package-Requires: ((emacs "29.1"))
;; Written from the registry by python -m tools.editors. Do not edit.

;;; Commentary:

;; (add-to-list 'load-path "…/editors/emacs") (require 'mfv-mode)
;; In a recipe, M-x eglot starts the server; (add-hook 'mfv-mode-hook #'eglot-ensure) always does.

;;; Code:

(defconst mfv-mode--items
  {quoted["items"]})
(defconst mfv-mode--functions
  {quoted["functions"]})
(defconst mfv-mode--values
  {quoted["values"]})

(defconst mfv-mode--font-lock
  `((,(concat "^[ \\t]*" (regexp-opt mfv-mode--items 'symbols)) 1 font-lock-keyword-face)
    ("\\\\_<\\\\(match\\\\)\\\\_>[ \\t]+[A-Za-z_][A-Za-z0-9_]*[ \\t]*{{" 1 font-lock-keyword-face)
    ("\\\\_<\\\\(else\\\\)\\\\_>[ \\t]*:" 1 font-lock-keyword-face)
    ("^[ \\t]*defaults[ \\t]+\\\\(for\\\\)\\\\_>" 1 font-lock-keyword-face)
    ("\\"[ \\t]+\\\\(as\\\\)\\\\_>" 1 font-lock-keyword-face)
    (,(concat (regexp-opt mfv-mode--functions 'symbols) "[ \\t]*(") 1 font-lock-function-name-face)
    ("\\\\_<\\\\([A-Za-z_][A-Za-z0-9_]*\\\\)[ \\t]*=" 1 font-lock-variable-name-face)
    (,(regexp-opt mfv-mode--values 'symbols) . font-lock-constant-face)
    ("\\\\_<\\\\(L[0-9]+H[0-9]+\\\\|[0-9]+\\\\(?:\\\\.[0-9]+\\\\)?\\\\(?:[eE][-+]?[0-9]+\\\\)?\\\\)\\\\_>"
     . font-lock-constant-face)))

(defvar mfv-mode-syntax-table
  (let ((table (make-syntax-table)))
    (modify-syntax-entry ?# "<" table)
    (modify-syntax-entry ?\\n ">" table)
    (modify-syntax-entry ?_ "_" table)
    (dolist (sign '(?= ?+ ?- ?* ?/ ?| ?& ?. ?: ?,))
      (modify-syntax-entry sign "." table))
    (modify-syntax-entry ?\\" "\\"" table)
    table)
  "Syntax of recipes: comments from `#', texts in double quotes.")

(defun mfv-mode-indent-line ()
  "Indent a line by two for every bracket that is open."
  (interactive)
  (let* ((depth (save-excursion (car (syntax-ppss (line-beginning-position)))))
         (closing (save-excursion (back-to-indentation) (looking-at "[])}}]")))
         (column (* 2 (max 0 (if closing (1- depth) depth)))))
    (if (<= (current-column) (current-indentation))
        (indent-line-to column)
      (save-excursion (indent-line-to column)))))

;;;###autoload
(define-derived-mode mfv-mode prog-mode "mfv"
  "Major mode for recipes of mfv-dsl."
  (setq-local comment-start "# ")
  (setq-local comment-end "")
  (setq-local indent-line-function #'mfv-mode-indent-line)
  (setq-local font-lock-defaults '(mfv-mode--font-lock)))

;;;###autoload
(add-to-list 'auto-mode-alist '("\\\\.mfv\\\\'" . mfv-mode))

(defvar eglot-server-programs)
(with-eval-after-load 'eglot
  (add-to-list 'eglot-server-programs '(mfv-mode . ("mfv" "lsp"))))

(provide 'mfv-mode)
;;; mfv-mode.el ends here
"""
