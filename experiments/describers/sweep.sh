#!/bin/sh
# usage: experiments/describers/sweep.sh PHOTOS OUTPUT [COUNT]
# PHOTOS: <source>/*.jpg with <source>/masks/*.png. Makes the composites, describes them, harmonizes them with the true
# words, with those of describer=clip and with a neutral description, and prints the tables of README.md.
set -eu
photos=$1 output=$2 count=${3:-200}
here=$(dirname "$0")
python=${PYTHON:-python}

"$python" "$here/synthesize.py" "$photos" "$output/data" --count "$count"
data="dataset=folder dataset.images=$output/data/composites dataset.masks=$output/data/masks"
"$python" -m diffharmon.run.describe $data describer=clip descriptions=1 workers=1 "hydra.run.dir=$output/describe"
for words in true clip neutral; do
    case $words in
        clip) file=$output/describe/descriptions.jsonl ;;
        *) file=$output/data/$words.jsonl ;;
    esac
    echo "## $words"
    "$python" "$here/directions.py" "$output/data" "$file"
    "$python" -m diffharmon.run $data "dataset.reals=$output/data/reals" describer=file "describer.path=$file" \
        evaluator=none "hydra.run.dir=$output/$words"
done
"$python" "$here/gains.py" "$output"/true "$output"/clip "$output"/neutral
