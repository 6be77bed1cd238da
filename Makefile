# Thin: CMake presets do the work. `make help` lists the targets.
SHELL := /bin/bash
JOBS ?= $(shell nproc)
CMAKE_BUILD := cmake --build -j $(JOBS) --preset

.PHONY: help demo serve experiment build test bench soak quality bundle format tidy asan tsan clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

# The programs alone, without tests and CUDA: what demo and serve need.
.PHONY: programs
programs:
	@scripts/install_deps.sh build
	@cmake --preset release --log-level=WARNING
	@$(CMAKE_BUILD) release

demo: programs ## build, serve the bundled model, generate at several skip levels, stop
	@scripts/demo.sh build/release/bin

serve: programs ## like demo, but stay up
	@scripts/demo.sh build/release/bin --stay

experiment: programs ## an experiment on the bundled model, from its YAML to its page, in build/experiment
	@scripts/experiment.sh build/release/bin build/experiment

build: ## everything that test needs
	@scripts/install_deps.sh test
	@cmake --preset dev
	@$(CMAKE_BUILD) dev

test: build ## build and run all tests but the long ones
	@ctest --preset dev -j $(JOBS)

soak: build ## the long tests
	@ctest --preset dev-slow

quality: build ## windows, skips and calibrated levels of a real model (QUALITY_MODEL, QUALITY_TEXTS)
	@tests/quality/run.sh build/dev/bin "$(QUALITY_MODEL)" "$(QUALITY_TEXTS)"

bench: build ## engine and scheduler against the floors of this machine
	@scripts/bench.sh build/dev/bin

asan: ## the suite under AddressSanitizer and UndefinedBehaviorSanitizer
	@scripts/install_deps.sh test
	@cmake --preset asan
	@$(CMAKE_BUILD) asan
	@ctest --preset asan -j $(JOBS)

tsan: ## the engine's tests under ThreadSanitizer
	@scripts/install_deps.sh test
	@cmake --preset tsan
	@$(CMAKE_BUILD) tsan
	@ctest --preset tsan -j $(JOBS)

bundle: ## a relocatable tree for GPU hosts, in dist/ (BUNDLE_FLAGS=--with-cuda-libs adds cuBLASLt)
	@scripts/install_deps.sh test
	@cmake --preset cuda --log-level=WARNING
	@$(CMAKE_BUILD) cuda --target skipstone-server skipstone skipstone-engine-bench engine_cuda_test
	@mkdir -p dist
	@scripts/bundle.sh build/cuda/bin dist/skipstone-cuda $(BUNDLE_FLAGS)

format: ## clang-format over the sources
	@git ls-files '*.cc' '*.h' '*.cu' '*.cuh' | xargs clang-format -i

tidy: build ## clang-tidy over the sources
	@git ls-files '*.cc' | grep -v '^tests/' | xargs -P $(JOBS) -n 4 clang-tidy -p build/dev --quiet

clean: ## remove build output
	@rm -rf build dist
