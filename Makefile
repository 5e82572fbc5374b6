# The only entry: CI calls these targets, nothing else.
#   make run      sets everything up and opens ptop
#   make test     sets everything up and passes the tests

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUST_MINIMUM := 1.88
STAMPS := $(VENV)/.stamps

RUST_SOURCES := $(shell find rust \( -name '*.rs' -o -name '*.bpf.o' \) -not -path '*/target/*' -not -path 'rust/fuzz/*') \
	$(wildcard rust/*/Cargo.toml) Cargo.toml Cargo.lock
PYTHON_SOURCES := $(shell find python ptop pyspark_taskstats -name '*.py' -o -name '*.pyi' -o -name 'py.typed')

.PHONY: run picture test test-rust test-python test-s390x test-guest kernel check-series test-kernel test-kernel-debug bpf check-bpf lint format docs bench bench-kernel fuzz man capi capi-header install-capi wheel wheel-x86_64 wheel-aarch64 check-wheel clean system
.DELETE_ON_ERROR:
# No built-in rules: one would make a BPF object with the C compiler where its source is newer.
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

run: $(STAMPS)/installed
	@$(BIN)/ptop

test: test-rust test-python

test-rust: system
	cargo test --workspace --quiet

test-python: $(STAMPS)/installed
	@sh tools/system.sh $(RUST_MINIMUM) test
	$(BIN)/pytest

# What reads records, on a big-endian machine that QEMU emulates.
S390X := s390x-unknown-linux-gnu
test-s390x:
	@sh tools/system.sh $(RUST_MINIMUM) s390x
	CC_s390x_unknown_linux_gnu=s390x-linux-gnu-gcc \
		CARGO_TARGET_S390X_UNKNOWN_LINUX_GNU_LINKER=s390x-linux-gnu-gcc \
		CARGO_TARGET_S390X_UNKNOWN_LINUX_GNU_RUNNER="qemu-s390x -L /usr/s390x-linux-gnu" \
		cargo test --quiet --target $(S390X) -p precise-top-core \
		--lib --test byte_order --test layout --test wire --test snapshot --test delta

# The sources and ptop under stock kernels, in emulated machines. KERNELS chooses: "all", or
# names as `tools/stock_kernels.py list` prints them; else some each time, others in turn.
# PARTS= names parts of tests/guest/test_stock_kernels.py; else all.
KERNELS :=
PARTS :=
# Kernels for aarch64 need the wheel for it.
ARM_WHEEL := $(if $(or $(findstring arm64,$(KERNELS)),$(filter all,$(KERNELS)),$(if $(KERNELS),,all)),wheel-aarch64)
test-guest: $(STAMPS)/installed $(ARM_WHEEL)
	@sh tools/system.sh $(RUST_MINIMUM) guest
	$(BIN)/python tools/stock_kernels.py fetch
	$(BIN)/python tools/stock_kernels.py chosen $(KERNELS)
	PRECISE_TOP_KERNELS="$(KERNELS)" PRECISE_TOP_PARTS="$(PARTS)" $(BIN)/pytest -m guest tests/guest

# Kernels with the series of kernel-patches/, built once and kept in the cache. SERIES chooses:
# "all", or versions; else the version whose turn it is by date, and those in the cache.
SERIES ?= today
export PRECISE_TOP_SERIES := $(SERIES)
kernel:
	@sh tools/system.sh $(RUST_MINIMUM) kernel
	$(PYTHON) tools/kernel.py --version "$(SERIES)"

# Each patch of the series by itself: git am, checkpatch, objects without a warning.
check-series: $(STAMPS)/installed
	@sh tools/system.sh $(RUST_MINIMUM) kernel
	$(BIN)/python tools/series.py

# In emulated machines with that kernel: what the series promises.
test-kernel: $(STAMPS)/installed kernel
	@sh tools/system.sh $(RUST_MINIMUM) guest
	$(BIN)/pytest -m 'kernel and not debug_kernel' tests/kernel

# The same under the kernel's own checks: KASAN and lockdep in one kernel, KCSAN in another.
# Building them takes a quarter of an hour each.
test-kernel-debug: $(STAMPS)/installed kernel
	@sh tools/system.sh $(RUST_MINIMUM) guest
	$(PYTHON) tools/kernel.py --version "$(SERIES)" --checks debug
	$(PYTHON) tools/kernel.py --version "$(SERIES)" --checks kcsan
	$(BIN)/pytest -m debug_kernel tests/kernel

# Rebuild the committed BPF objects.
BPF := rust/sources/bpf
bpf:
	@sh tools/system.sh $(RUST_MINIMUM) bpf
	sh tools/build_bpf.sh $(BPF)

# Check that the committed objects have the instructions of their sources.
check-bpf:
	@sh tools/system.sh $(RUST_MINIMUM) bpf
	sh tools/check_bpf.sh

lint: $(STAMPS)/installed
	! git grep -nE '^(<{7}|>{7}) '
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m mypy.stubtest taskstats._core --ignore-disjoint-bases \
		--allowlist tools/stubtest_allowlist.txt --ignore-unused-allowlist
	$(BIN)/python tools/manpage.py --check
	$(BIN)/pytest tests/test_imports.py
	cargo test --quiet --package precise-top-capi --test header

format:
	cargo fmt --all
	$(BIN)/ruff check --fix --quiet .
	$(BIN)/ruff format --quiet .

# Rebuild the committed man page and docs/keys.md from the option, key and column tables of ptop.
man: $(STAMPS)/installed
	$(BIN)/python tools/manpage.py

# The picture of the live view in README.md, from an emulated machine.
picture: $(STAMPS)/installed
	@sh tools/system.sh $(RUST_MINIMUM) guest
	$(BIN)/python tools/picture.py

# The references, from docstrings: of the Python package in dist/reference, of the crates in
# target/doc. A warning is an error.
docs: $(STAMPS)/installed
	$(BIN)/python tools/reference.py
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet

# Each prints a table; machines are shared, so compare ratios.
BENCHES := start snapshots compat books exits proposal screen history harm dumps scan recorder
bench: $(STAMPS)/installed
	@sh tools/system.sh $(RUST_MINIMUM) test
	$(BIN)/python tools/requirements.py bench > $(VENV)/requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r $(VENV)/requirements.txt
	cargo bench --quiet -p precise-top-core --bench records
	set -e; for name in $(BENCHES); do $(BIN)/python -m tests.bench.$$name; done

# The same for the patched kernel, in emulated machines: some 10 minutes.
bench-kernel: $(STAMPS)/installed kernel
	@sh tools/system.sh $(RUST_MINIMUM) guest
	$(PYTHON) tools/kernel.py
	$(PYTHON) tools/kernel.py --plain
	$(BIN)/python -m tests.bench.kernel

# Every fuzz target for a while; more with FUZZ_RUNS=. What fails is kept in rust/fuzz/artifacts.
FUZZ_RUNS := 50000
fuzz:
	@sh tools/system.sh $(RUST_MINIMUM) fuzz
	sh tools/fuzz.sh $(FUZZ_RUNS) $(VENV)

# Portable wheels: manylinux2014 through zig's linker.
wheel: wheel-x86_64 wheel-aarch64
WHEEL = PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/maturin build --release --quiet --zig \
	--compatibility manylinux2014 --out dist

wheel-x86_64: $(STAMPS)/zig
	rm -f dist/*_x86_64.whl
	$(WHEEL)

# Another compiler has another target directory, so that both keep what they have built.
wheel-aarch64: $(STAMPS)/zig
	rm -f dist/*_aarch64.whl
	rustc=$$($(BIN)/python tools/aarch64.py) && RUSTC="$$rustc" \
		CARGO_TARGET_DIR="$${CARGO_TARGET_DIR:-target}/debian" \
		$(WHEEL) --target aarch64-unknown-linux-gnu

# What is in it, what it needs, and that it works in an empty environment.
check-wheel: wheel-x86_64 $(STAMPS)/installed
	$(BIN)/pytest -m wheel tests/wheel

clean:
	rm -rf $(VENV) target dist

# The C library: shared and static, in the target directory.
capi: system
	sh tools/capi.sh build

# Rebuild the committed header from the crate.
capi-header:
	WRITE_HEADER=1 cargo test --quiet --package precise-top-capi --test header

# With DESTDIR= and PREFIX= (/usr/local); LIBDIR= where libraries are not in PREFIX/lib.
install-capi: capi
	DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" LIBDIR="$(LIBDIR)" sh tools/capi.sh install

# What has to be on the machine before anything else: checked, and as root installed.
system:
	@sh tools/system.sh $(RUST_MINIMUM)

$(STAMPS)/dev: pyproject.toml tools/requirements.py
	@$(MAKE) --no-print-directory system
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python tools/requirements.py dev > $(VENV)/requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r $(VENV)/requirements.txt
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/zig: $(STAMPS)/dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check ziglang
	@touch $@

# The wheel is what is installed and tested: maturin's development install leaves
# the top-level ptop/ out.
$(STAMPS)/installed: $(STAMPS)/dev $(RUST_SOURCES) $(PYTHON_SOURCES) README.md
	rm -rf $(VENV)/wheel
	$(BIN)/maturin build --release --quiet --compatibility linux --out $(VENV)/wheel
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps $(VENV)/wheel/*.whl
	@touch $@
