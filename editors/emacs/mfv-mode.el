;;; mfv-mode.el --- Recipes of mfv-dsl, with the language server  -*- lexical-binding: t; -*-

;; Package-Requires: ((emacs "29.1"))
;; Written from the registry by python -m tools.editors. Do not edit.

;;; Commentary:

;; (add-to-list 'load-path "…/editors/emacs") (require 'mfv-mode)
;; In a recipe, M-x eglot starts the server; (add-hook 'mfv-mode-hook #'eglot-ensure) always does.

;;; Code:

(defconst mfv-mode--items
  '("dataset" "defaults" "eval" "heads" "let" "model" "profile" "report" "save" "sweep" "tune" "use" "vector" "mfv"))
(defconst mfv-mode--functions
  '("all" "blend" "clip" "cosine" "dot" "fv" "layers" "learned_numbers" "load" "lora" "mean" "norm" "normalize" "pca" "probe" "project" "random" "random_like" "reject" "soft_prompt" "states" "top" "zeros" "blink" "boxes" "clevr" "embspatial" "gqa" "hf" "hf_dataset" "in_memory" "metadata_csv" "omnispatial" "openflamingo" "pairs" "parquet" "scenes" "spatialeval" "spatialsense" "tiny" "visual_genome" "vsr" "whatsup"))
(defconst mfv-mode--values
  '("accuracy" "add" "aie" "all" "analogy" "angle" "answer" "attention" "auto" "balanced" "balanced_accuracy" "bf16" "chance" "chat" "choice" "choice_text" "confusion" "cpu" "cuda" "demonstrations" "drop" "each" "eager" "error" "false" "familiar" "few_shot" "first" "first_token" "flash" "fp16" "fp32" "free" "full" "generate" "gradient" "head_mask" "head_scales" "images" "int8" "k" "kept" "last" "layer" "length" "letter_accuracy" "lrp" "mask" "mean" "mix" "mlp" "mps" "named" "native" "nearest" "nf4" "nll" "none" "norm" "normal" "novel" "object" "off_task_accuracy" "off_task_kl" "official" "only" "other_relation" "others" "p_answer" "paper" "patch_mask" "per_head" "place_scales" "plain" "pooled" "probe" "project_out" "question" "random" "random_heads" "random_vector" "relation" "relp" "replace" "residual" "same_images" "scale" "sdpa" "shapes" "shuffle" "shuffled" "subject" "teacher" "text_accuracy" "text_sum_accuracy" "things" "true" "truth" "turns" "vector" "votes" "what" "where" "xattn" "yes_no" "zero"))

(defconst mfv-mode--font-lock
  `((,(concat "^[ \t]*" (regexp-opt mfv-mode--items 'symbols)) 1 font-lock-keyword-face)
    ("\\_<\\(match\\)\\_>[ \t]+[A-Za-z_][A-Za-z0-9_]*[ \t]*{" 1 font-lock-keyword-face)
    ("\\_<\\(else\\)\\_>[ \t]*:" 1 font-lock-keyword-face)
    ("^[ \t]*defaults[ \t]+\\(for\\)\\_>" 1 font-lock-keyword-face)
    ("\"[ \t]+\\(as\\)\\_>" 1 font-lock-keyword-face)
    (,(concat (regexp-opt mfv-mode--functions 'symbols) "[ \t]*(") 1 font-lock-function-name-face)
    ("\\_<\\([A-Za-z_][A-Za-z0-9_]*\\)[ \t]*=" 1 font-lock-variable-name-face)
    (,(regexp-opt mfv-mode--values 'symbols) . font-lock-constant-face)
    ("\\_<\\(L[0-9]+H[0-9]+\\|[0-9]+\\(?:\\.[0-9]+\\)?\\(?:[eE][-+]?[0-9]+\\)?\\)\\_>"
     . font-lock-constant-face)))

(defvar mfv-mode-syntax-table
  (let ((table (make-syntax-table)))
    (modify-syntax-entry ?# "<" table)
    (modify-syntax-entry ?\n ">" table)
    (modify-syntax-entry ?_ "_" table)
    (dolist (sign '(?= ?+ ?- ?* ?/ ?| ?& ?. ?: ?,))
      (modify-syntax-entry sign "." table))
    (modify-syntax-entry ?\" "\"" table)
    table)
  "Syntax of recipes: comments from `#', texts in double quotes.")

(defun mfv-mode-indent-line ()
  "Indent a line by two for every bracket that is open."
  (interactive)
  (let* ((depth (save-excursion (car (syntax-ppss (line-beginning-position)))))
         (closing (save-excursion (back-to-indentation) (looking-at "[])}]")))
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
(add-to-list 'auto-mode-alist '("\\.mfv\\'" . mfv-mode))

(defvar eglot-server-programs)
(with-eval-after-load 'eglot
  (add-to-list 'eglot-server-programs '(mfv-mode . ("mfv" "lsp"))))

(provide 'mfv-mode)
;;; mfv-mode.el ends here
