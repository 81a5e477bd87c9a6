# make test: the tests; options of pytest in TEST, e.g. TEST=--cov.  make check: linters,
# types and prose.  make package-check: sdist and wheel, built, installed into environments
# of their own and used there (15 minutes, package index).  make bench: speed, beside other
# projects'; options in BENCH, e.g. BENCH=--quick.  make findings: docs/findings.md,
# docs/measured and the numbers of README, FAQ and model card from the kept scores;
# options in FINDINGS.  make web: the page that enhances in the browser, web/dist/index.html
# (needs npm); the networks of another folder by MODEL.  make libri2mix LIBRISPEECH=DIR: quality on Libri2Mix; make quality:
# on another ground; options in QUALITY (docs/quality.md).  make speaker_encoder: the
# package's ge2e_robust, from what stages 1 and 2 of the recipe have written.  All make the
# environment if need be.

SHELL := /bin/bash
SCRIPTS = $(shell git ls-files '*.sh') .ci/run

.PHONY: test test-dev check package-check bench libri2mix quality findings speaker_encoder \
	web format env clean

env:
	@local/setup_env.sh

test:
	@python=$$(local/setup_env.sh) && OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE \
	"$$python" -m pytest -n auto --maxprocesses 4 --dist loadfile $(TEST)

# Those that are slow, or need a browser, an index or packages that only developers have.
.PHONY: test-dev
test-dev:
	@python=$$(local/setup_env.sh) && OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE \
	"$$python" -m pytest -m dev $(TEST)

# Hostile input (SECURITY.md): tables of cases; options in HOSTILE, e.g. HOSTILE="--kind
# zip".  make fuzz: a fuzzer, SECONDS for each way in; atheris if it is installed.
.PHONY: hostile fuzz
SECONDS_EACH = $(if $(filter command line environment,$(origin SECONDS)),$(SECONDS),60)
hostile:
	@python=$$(local/setup_env.sh) && OMP_NUM_THREADS=1 "$$python" -m tools.hostile $(HOSTILE)

fuzz:
	@python=$$(local/setup_env.sh) && OMP_NUM_THREADS=1 "$$python" -m tools.hostile.fuzz \
	--seconds $(SECONDS_EACH) $(FUZZ)

# Hours of sound, for drift, growth and lost blocks: SOAK="live --hours 1 ..." needs PulseAudio.
.PHONY: soak
soak:
	@python=$$(local/setup_env.sh) && OMP_NUM_THREADS=1 "$$python" -m tools.soak $(SOAK)

check:
	@python=$$(local/setup_env.sh) && bin=$$(dirname "$$python") && \
	"$$python" tools/check_limits.py && \
	"$$bin/ruff" check . && "$$bin/ruff" format --check . && "$$bin/mypy" && \
	"$$bin/shellcheck" -x $(SCRIPTS) && "$$python" tools/check_prose.py

package-check:
	@python=$$(local/setup_env.sh) && "$$python" -m pytest -m 'dev or not dev' \
	tests/test_package.py $(TEST)

bench:
	@python=$$(local/setup_env.sh) && "$$python" -m benchmarks.run $(BENCH)

libri2mix:
	@[ -n "$(LIBRISPEECH)" ] || { echo "error: LIBRISPEECH: missing; give the folder that" \
	"holds test-clean: make libri2mix LIBRISPEECH=DIR" >&2; exit 2; }
	@python=$$(local/setup_env.sh) && "$$python" -m benchmarks.quality libri2mix \
	--librispeech "$(LIBRISPEECH)" $(QUALITY)

quality:
	@python=$$(local/setup_env.sh) && "$$python" -m benchmarks.quality $(QUALITY)

findings:
	@python=$$(local/setup_env.sh) && "$$python" -m tools.findings $(FINDINGS) && \
	"$$python" -m tools.package_scores

speaker_encoder:
	@python=$$(local/setup_env.sh) && "$$python" -m espnet_pse_kd.bin.finetune_speaker_encoder \
	--dump_dir egs2_recipe/dump --output egs2_recipe/exp/speaker_encoder \
	--onnx espnet_pse_kd/speaker/ge2e_robust.onnx $(ENCODER)

# npm ci where what it has installed is older than what is asked for.
web/node_modules/.package-lock.json: web/package-lock.json
	cd web && npm ci --no-audit --no-fund && touch node_modules/.package-lock.json

web: web/node_modules/.package-lock.json
	@cd web && npm run --silent check && npm run --silent test && npm run --silent build

format:
	@python=$$(local/setup_env.sh) && bin=$$(dirname "$$python") && \
	"$$bin/ruff" check --fix . && "$$bin/ruff" format .

# What the recipe wrote stays: remove egs2_recipe/{data,dump,exp} by hand.
clean:
	rm -rf .venv .venv.lock .uv .pytest_cache .ruff_cache .mypy_cache .hypothesis build *.egg-info
	find espnet_pse_kd tests -name __pycache__ -type d -exec rm -rf {} +
