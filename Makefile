# Thin: each target is a command that you could type yourself.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
CARGO_TARGET_DIR ?= target
BIN := $(CARGO_TARGET_DIR)/release/tinysaver
ARM := aarch64-unknown-linux-gnu aarch64-unknown-linux-musl armv7-unknown-linux-gnueabihf
PAIR := models/imagenet-lite
PHOTOS := $(PAIR)/build/photos
KERNEL_TESTS := runtime/engine/kernel-tests
KERNEL_TARGET := $(if $(filter environment,$(origin CARGO_TARGET_DIR)),$(CARGO_TARGET_DIR),$(KERNEL_TESTS)/target)

.PHONY: help build models run test test-rust test-models lint picture bench-engines bench-start bench-f32 check-coverage check-base deny

help: ## show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# One command and one profile for everything, so that tract is compiled once.
build: ## compile the binary (target/release/tinysaver)
	cargo build --release --locked --workspace

models: build ## fetch real weights and photos, build the pair, check it against onnxruntime
	$(PYTHON) models/make.py imagenet-lite

.PHONY: models-fashion
models-fashion: ## fetch Fashion-MNIST (31 MB, by apt-get) for the labelled pair, whose models are committed
	$(PYTHON) models/fashion-mnist/fetch.py

run: models ## classify the demo photos with saver and base
	$(BIN) run --source $(PHOTOS) --log exits

test: lint test-models test-rust ## everything that must hold: lints, maker, gates, unit and end-to-end tests

lint: ## format, clippy and rustdoc; warnings are errors
	cargo fmt --all --check
	cargo clippy --release --locked --workspace --all-targets -- -D warnings
	cargo clippy --release --locked --package tinysaver-board --features panels --target-dir $(CARGO_TARGET_DIR)/panels -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --release --locked --workspace --no-deps --quiet

test-models: models ## the maker's own tests; this binary against onnxruntime once more
	$(PYTHON) models/make.py imagenet-lite --engine $(BIN)
	models/.venv/bin/python -m unittest discover -s models/tests

check-coverage: models ## every supported architecture against onnxruntime (docs/figures/coverage.md); minutes, 600 MB
	models/.venv/bin/python models/coverage/check.py --engine $(BIN) --figures docs/figures

test-rust: models ## unit tests and end-to-end tests of the built binary
	cargo test --release --locked --workspace

.PHONY: cross test-arm test-arm-kernels vm-test mca
cross: ## build the binary for ARM boards, into target/TRIPLE/dist (targets/README.md)
	for triple in $(ARM); do \
	  targets/cross.sh $$triple build --profile dist --locked --package tinysaver-cli --no-default-features --features panels && \
	  targets/glibc-floor.sh $(CARGO_TARGET_DIR)/$$triple/dist/tinysaver 2.27 || exit 1; \
	done

test-arm: models ## the ARM build under qemu-user: same answers to the bit, kernels against their definition
	$(PYTHON) targets/test.py --native $(BIN) --pictures $(PHOTOS)

test-arm-kernels: ## the int8 engine's aarch64 kernels under qemu-user against their definition; CI runs this
	$(PYTHON) targets/test.py --kernels

vm-test: models ## the ARM builds on an emulated board: a real kernel's camera driver and its faults, a screen
	$(PYTHON) tests/board/vm_test.py --native $(BIN)

mca: ## static throughput of the kernels' inner loops on ARM cores (needs llvm-19); writes docs/figures/mca.md
	targets/cross.sh aarch64-unknown-linux-gnu test --no-run --profile shipped --locked --manifest-path $(KERNEL_TESTS)/Cargo.toml
	$(PYTHON) targets/mca.py "$$(find $(KERNEL_TARGET)/aarch64-unknown-linux-gnu/shipped/deps -name 'tinysaver_kernel_tests-*' -perm -u+x -printf '%T@ %p\n' | sort -n | tail -1 | cut -d' ' -f2)" --write docs/figures

.PHONY: arm-instructions
arm-instructions: ## instructions of an inference on ARM beside onnxruntime's, under qemu-user (needs `make bench-engines`' models)
	targets/cross.sh aarch64-unknown-linux-gnu build --profile emulated-tests --locked --workspace
	$(PYTHON) targets/instructions.py $(CARGO_TARGET_DIR)/aarch64-unknown-linux-gnu/emulated-tests/tinysaver target/bench-engines/models target/arm-instructions docs/figures

picture: models ## draw docs/run.svg from a real run
	set -o pipefail; { echo '$$ tinysaver run --source photos/labelled'; \
	  $(BIN) run --source $(PHOTOS)/labelled | sed '/^saver confidence/,$$d'; } | $(PYTHON) docs/picture.py > docs/run.svg

bench-engines: models ## time the int8 engine against its peers from PyPI, into docs/figures/engines.md (three minutes once the peers are there)
	cargo build --release --locked --workspace --example engine
	$(PYTHON) runtime/engine/bench target/release/examples/engine $(BIN) target/bench-engines $(PAIR)/build docs/figures

.PHONY: bench-camera bench-frame
bench-camera: models ## camera to tensor against OpenCV and libjpeg-turbo, into docs/figures/camera.md (two minutes; 90 MB from PyPI)
	cargo build --release --locked --workspace --example camera
	$(PYTHON) runtime/board/bench $(CARGO_TARGET_DIR)/release/examples/camera $(CARGO_TARGET_DIR)/bench-camera $(PAIR) docs/figures

bench-frame: models ## the runtime's own work for a frame, into docs/figures/frame.md
	cargo build --release --locked --workspace --example camera
	$(PYTHON) runtime/board/bench/frame.py $(BIN) $(CARGO_TARGET_DIR)/release/examples/camera docs/figures

bench-start: models ## cold process to first answer and its memory, into docs/figures/start.md
	$(PYTHON) runtime/engine/bench/start.py $(BIN) $(PAIR)/build/efficientnet_lite0_160.int8.onnx docs/figures

bench-f32: models ## tract's f32 with and without this engine's convolutions, into docs/figures/f32.md
	mkdir -p target/bench-f32
	TINYSAVER_PLAIN_TRACT=1 cargo build --release --locked --workspace --example engine
	cp target/release/examples/engine target/bench-f32/plain
	cargo build --release --locked --workspace --example engine
	$(PYTHON) runtime/engine/bench/f32.py target/release/examples/engine target/bench-f32/plain $(PAIR)/build docs/figures

.PHONY: bench-threads
bench-threads: models ## one inference on 1, 2 and more threads, into docs/figures/threads.md
	$(PYTHON) runtime/engine/bench/threads.py $(BIN) $(PAIR)/build docs/figures

.PHONY: bench-lab
bench-lab: models ## time calibration and selection at ImageNet's size, into docs/figures/lab.md
	models/.venv/bin/python runtime/cli/bench/lab.py $(BIN) docs/figures

.PHONY: reproduce
reproduce: models models-fashion ## the paper's table, test-swept and certified, for the pairs that are built, into docs/figures/reproduce.md
	$(PYTHON) models/reproduce.py $(BIN) docs/figures

check-base: models ## the int8 base against the f32 base on the demo photos, into docs/figures/base.md
	$(PYTHON) models/coverage/base.py $(BIN) docs/figures

.PHONY: asan fuzz check-photos size
check-photos: models ## the same top-1 as onnxruntime on hundreds of real photos, into docs/figures/photos.md (Debian 12; 218 MB, long)
	models/.venv/bin/python models/coverage/photos.py --engine $(BIN) --figures docs/figures

size: build ## what the int8 engine adds to the binary, into docs/figures/size.md
	$(PYTHON) runtime/engine/bench/size.py $(BIN) docs/figures $(CARGO_TARGET_DIR)/dist/tinysaver

fuzz: ## a million executions of each fuzz target under AddressSanitizer, into docs/figures/fuzz.md (needs cargo-fuzz; long)
	$(PYTHON) runtime/fuzz/run.py docs/figures

asan: ## the kernels' tests under AddressSanitizer
	RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address cargo test --release --locked --manifest-path runtime/engine/kernel-tests/Cargo.toml --target x86_64-unknown-linux-gnu

.PHONY: energy-check
energy-check: ## joules an inference by the Pi 4's profile against MLPerf's table, into docs/figures/energy-check.md
	$(PYTHON) targets/energy_check.py docs/data/mlperf-rpi4.tsv docs/figures

.PHONY: bench-energy
bench-energy: build ## what booking energy costs the board itself, into docs/figures/energy-cost.md
	$(PYTHON) targets/bench_energy.py $(BIN) runtime/board/src/power/trees docs/figures

.PHONY: scenarios
scenarios: build ## four boards, three links: what a frame costs by the product's own ledger and policy, into docs/figures/scenarios.md
	$(CARGO_TARGET_DIR)/release/scenarios

deny: ## licences and sources of all dependencies (needs cargo-deny)
	cargo deny check licenses bans sources

.PHONY: interop bench-photos bench-serve load link-test
INTEROP := tests/interop

interop: models ## serve, client and export against real servers and clients, into docs/figures/interop.md (2 GB from PyPI)
	$(INTEROP)/make-venvs.sh
	$(INTEROP)/.venv-client/bin/python $(INTEROP)/check_server.py $(BIN) $(PHOTOS)
	$(INTEROP)/.venv-client/bin/python $(INTEROP)/check_client.py $(BIN) $(PHOTOS) \
	  $(INTEROP)/.venv-triton/bin/python $(INTEROP)/.venv-mlserver/bin/python
	$(INTEROP)/.venv-client/bin/python $(INTEROP)/check_export.py $(BIN) $(PHOTOS) \
	  $(INTEROP)/.venv-triton/bin/python $(INTEROP)/.venv-kserve/bin/python
	@if [ $$(id -u) = 0 ]; then $(INTEROP)/check_kserve.sh $(BIN) $(PHOTOS) $(INTEROP)/.venv-kserve/bin/python \
	  $(INTEROP)/.venv-client/bin/python; else echo "KServe NOT CHECKED: its network namespace needs root"; fi

bench-photos: models ## what the size and quality of photos cost the base, into docs/figures/photo-cost.md
	$(INTEROP)/make-venvs.sh
	$(INTEROP)/.venv-client/bin/python $(INTEROP)/bench_photos.py $(BIN) $(PHOTOS)

.PHONY: live-check
live-check: models ## the live page in headless Chromium (needs node, npm, chromium); writes docs/figures/live.md
	npm ci --prefix tests/live --silent --no-audit --no-fund
	node tests/live/check.mjs $(BIN) docs/figures target/live-check
	cp target/live-check/desktop.png docs/live.png

bench-serve: models ## serve against Triton and MLServer, and the client's own time, into docs/figures/serve.md (fetches 2 GB from PyPI)
	$(INTEROP)/make-venvs.sh
	$(INTEROP)/.venv-client/bin/python $(INTEROP)/bench_serve.py $(BIN) $(INTEROP)/.venv-triton/bin/python \
	  $(INTEROP)/.venv-mlserver/bin/python

load: models ## a thousand simulated boards against one serve, into docs/figures/load.md
	$(CARGO_TARGET_DIR)/release/load

link-test: models ## 10,000 frames under a link that comes and goes, and what faults cost the saver, into docs/figures/link.md (10 minutes)
	$(CARGO_TARGET_DIR)/release/link_test
