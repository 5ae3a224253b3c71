#!/usr/bin/env bash
# What a person with an NVIDIA GPU runs: build, tests on the card, compute-sanitizer,
# benchmarks against PyTorch. Each phase has its time limit, and the later ones run even
# when one fails; a short summary comes last, the full logs lie in the folder.
#
#   bench/cuda.sh [options] [FOLDER]      FOLDER: of the logs (default runs/cuda)
#
#   --installed        test the tensorlib that PYTHON has; build nothing
#   --no-isolation     build with the packages that PYTHON has, without the network
#   --python PATH      the interpreter (default python3)
#   --only LIST        phases, comma-separated, of build,tests,memcheck,racecheck,bench
#   --tests ARG        argument of pytest instead of "-m cuda tests"; may be repeated
#   --select EXPR      tests under the sanitizer, as pytest's -k (default: small ones)
#   --budget SECONDS   of the benchmarks (default 150)
#   --rows REGEX       benchmarks whose "section: name" it finds
#   --limit PHASE=S    another time limit, in seconds; may be repeated
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2

installed=no isolation=() python=${PYTHON:-python3} folder=runs/cuda
phases=build,tests,memcheck,racecheck,bench
select_tests="not large and not bench" budget=150 rows="" tests=()
declare -A limits=([build]=2400 [tests]=600 [memcheck]=300 [racecheck]=300 [bench]=240)

need() { [ $# -ge 2 ] || { echo "cuda.sh: $1 needs a value" >&2; exit 2; }; }
while [ $# -gt 0 ]; do
  case $1 in
    --installed) installed=yes ;;
    --no-isolation) isolation=(--no-build-isolation) ;;
    --python) need "$@"; python=$2; shift ;;
    --only) need "$@"; phases=$2; shift ;;
    --tests) need "$@"; tests+=("$2"); shift ;;
    --select) need "$@"; select_tests=$2; shift ;;
    --budget) need "$@"; budget=$2; shift ;;
    --rows) need "$@"; rows=$2; shift ;;
    --limit) need "$@"; limits[${2%%=*}]=${2#*=}; shift ;;
    -h | --help) sed -n '2,19s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) echo "cuda.sh: there is no option $1; see --help" >&2; exit 2 ;;
    *) folder=$1 ;;
  esac
  shift
done
[ ${#tests[@]} -gt 0 ] || tests=(-m cuda tests)
mkdir -p "$folder" || exit 2
folder=$(cd "$folder" && pwd)
: >"$folder/summary.txt"
failed=0

# say PHASE TEXT: a line of the summary.
say() { printf '%-10s %s\n' "$1" "$2" | tee -a "$folder/summary.txt"; }

wanted() { [[ ,$phases, == *,$1,* ]]; }

# phase NAME COMMAND...: run it under its limit, all it says into NAME.log.
phase() {
  local name=$1 start=$SECONDS status
  shift
  echo "== $name: $*"
  timeout --kill-after=10 "${limits[$name]}" "$@" >"$folder/$name.log" 2>&1
  status=$?
  local took=$((SECONDS - start)) last
  last=$(grep -v '^[[:space:]]*$' "$folder/$name.log" | tail -1 | cut -c1-160)
  case $status in
    0) say "$name" "passed in $took s: $last" ;;
    124 | 137) say "$name" "STOPPED after $took s: $last"; failed=1 ;;
    *) say "$name" "FAILED ($status) after $took s: $last"; failed=1 ;;
  esac
  return $status
}

# sanitized NAME ARGUMENTS...: the selected tests under a tool of compute-sanitizer.
sanitized() {
  local name=$1
  shift
  if ! command -v compute-sanitizer >/dev/null; then
    say "$name" "skipped: there is no compute-sanitizer on PATH"
    return
  fi
  phase "$name" compute-sanitizer "$@" --error-exitcode 9 \
    --log-file "$folder/$name.report" --target-processes all \
    "$python" -P -m pytest -q -x -p no:cacheprovider "${tests[@]}" -k "$select_tests"
  [ -f "$folder/$name.report" ] &&
    say "" "$(grep -m1 'SUMMARY' "$folder/$name.report" || echo 'no summary of the tool')"
}

{ nvidia-smi || echo "no nvidia-smi"; } >"$folder/card.txt" 2>&1
say card "$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null |
  head -1 || true)"

if wanted build && [ $installed = no ]; then
  phase build "$python" -m pip install "${isolation[@]}" --quiet \
    -Csetup-args=-Dcuda=enabled '.[dev]'
fi
answer=$("$python" -P -c \
  'import tensorlib as tl; print(tl.cuda.why_unavailable() or "there")' 2>&1 | tail -1)
say device "$answer"
if [ "$answer" != there ]; then
  echo "cuda.sh: no device can be used; nothing more to run" >&2
  exit 1
fi
if wanted tests; then
  phase tests "$python" -P -m pytest -q -p no:cacheprovider --durations=10 "${tests[@]}"
  grep -E '^(FAILED|ERROR) ' "$folder/tests.log" | cut -c1-200 | head -40
fi
wanted memcheck && sanitized memcheck --tool memcheck --leak-check no
wanted racecheck && sanitized racecheck --tool racecheck --racecheck-report analysis
if wanted bench; then
  # The checkout comes last on the path: what is installed is what is measured.
  phase bench "$python" -P -c \
    "import sys; sys.path.append('$PWD'); from bench.peers import main; sys.exit(main())" \
    --device cuda --budget "$budget" --out "$folder/RESULTS-cuda.md" \
    ${rows:+--only "$rows"}
  sed -n '/^== misses/,$p' "$folder/bench.log" | cut -c1-160 | head -60
fi

echo
echo "== summary ($folder)"
cat "$folder/summary.txt"
exit $failed
