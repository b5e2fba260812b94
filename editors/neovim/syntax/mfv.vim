" Written from the registry by python -m tools.editors. Do not edit.
if exists("b:current_syntax")
  finish
endif

syntax match   mfvOperator  "[-+*/|&=]\|\.\."
syntax match   mfvName      "\<\h\w*\>"
syntax match   mfvValue     "\<\%(balanced_accuracy\|off_task_accuracy\|text_sum_accuracy\|letter_accuracy\|demonstrations\|other_relation\|random_vector\|text_accuracy\|place_scales\|random_heads\|choice_text\|first_token\|head_scales\|off_task_kl\|project_out\|same_images\|patch_mask\|attention\|confusion\|head_mask\|accuracy\|balanced\|familiar\|few_shot\|generate\|gradient\|official\|p_answer\|per_head\|question\|relation\|residual\|shuffled\|analogy\|nearest\|replace\|shuffle\|subject\|teacher\|answer\|chance\|choice\|images\|length\|native\|normal\|object\|others\|pooled\|random\|shapes\|things\|vector\|yes_no\|angle\|eager\|error\|false\|first\|flash\|layer\|named\|novel\|paper\|plain\|probe\|scale\|truth\|turns\|votes\|where\|xattn\|auto\|bf16\|chat\|cuda\|drop\|each\|fp16\|fp32\|free\|full\|int8\|kept\|last\|mask\|mean\|none\|norm\|only\|relp\|sdpa\|true\|what\|zero\|add\|aie\|all\|cpu\|lrp\|mix\|mlp\|mps\|nf4\|nll\|k\)\>"
syntax match   mfvCall      "\<\h\w*\>\ze\s*("
syntax match   mfvFunction  "\<\%(learned_numbers\|visual_genome\|metadata_csv\|openflamingo\|spatialsense\|random_like\|soft_prompt\|omnispatial\|spatialeval\|embspatial\|hf_dataset\|normalize\|in_memory\|project\|parquet\|whatsup\|cosine\|layers\|random\|reject\|states\|scenes\|blend\|probe\|zeros\|blink\|boxes\|clevr\|pairs\|clip\|load\|lora\|mean\|norm\|tiny\|all\|dot\|pca\|top\|gqa\|vsr\|fv\|hf\)\>\ze\s*("
syntax match   mfvAttribute "\<\h\w*\>\ze\s*=[^=]"
syntax match   mfvItem      "^\s*\zs\%(defaults\|dataset\|profile\|report\|vector\|heads\|model\|sweep\|eval\|save\|tune\|let\|use\|mfv\)\>\ze\s*\%(\s[A-Za-z0-9_\"]\|{\)"
syntax match   mfvControl   "\<match\>\ze\s\+\h\w*\s*{"
syntax match   mfvControl   "\<else\>\ze\s*:"
syntax match   mfvControl   "\%(^\s*defaults\s\+\)\@<=for\>"
syntax match   mfvControl   +\%("\s\+\)\@<=as\>+
syntax match   mfvNumber    "\<\d\+\%(\.\d\+\)\?\%([eE][+-]\?\d\+\)\?\>"
syntax match   mfvHead      "\<L\d\+H\d\+\>"
syntax region  mfvString    start=+"+ skip=+\\.+ end=+"+ oneline
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
