# make build   the command-line tool, optimised, with the Swift runtime inside
# make demo    merge a real adapter, verify the result, print both reports
# make test    every test
# make test-arm  every function of the C kernels on AArch64, emulated, against definitions and this machine (not part of make test)
# make fuzz SECONDS=60      libFuzzer with AddressSanitizer on every parser; TARGETS="pickle zip" for some of them
# make test-asan, test-tsan the tests under AddressSanitizer, ThreadSanitizer; FILTER=... for some of them
# make coverage             regions of the parsers that the tests reach, by llvm-cov
# make corpus               the whole corpus through the optimised binary
# make faults               every call that writes goes wrong once, in every way: calls, faults, what the target was then
# make memory MB=4096       what each command holds for a model of that size
# make bench   time the tool against cp and others; BENCH="--size small --rounds 1" for a short one
# make docs    the library's documentation, .build/docs/Peftfile.doccarchive
# make install PREFIX=/usr/local  binary, man pages and completions; DESTDIR is put before it
# make dist    dist/: a tarball; make deb: a Debian package; make wheel: a wheel for pip; SHA256SUMS over all
# make clean   remove what was built
#
# build, demo, test, test-arm, deb and wheel install what they need beside Swift where they may, and say the line to run where they may not.

SWIFT ?= swift
# zlib inflates the entries of torch files; OpenBLAS is what verify computes with, libyaml reads policies.
PACKAGES = zlib1g-dev libopenblas-dev libyaml-0-2

ARM_PACKAGES = gcc libc6-dev gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user

PEFTFILE = .build/release/peftfile
CASE = Fixtures/merge/lora-sharded-bf16

PREFIX = /usr/local
COMMIT = $(shell git describe --always --abbrev=12 --exclude='*' --dirty=+ 2>/dev/null)

.PHONY: build demo test test-arm fuzz test-asan test-tsan coverage corpus faults memory bench docs install dist deb wheel clean packages

build:
	@bash .ci/packages zlib1g-dev
	PEFTFILE_COMMIT=$(COMMIT) $(SWIFT) build -c release --static-swift-stdlib --product peftfile

demo: packages build
	@rm -rf .build/demo && mkdir -p .build/demo
	$(PEFTFILE) merge $(CASE)/base $(CASE)/adapter -o .build/demo/merged
	$(PEFTFILE) verify .build/demo/merged --base $(CASE)/base --adapter $(CASE)/adapter

# Not optimised: the tests then run about 35 s longer on two cores, and are built two minutes sooner.
test: packages
	$(SWIFT) test --disable-xctest

test-arm:
	@bash .ci/packages $(ARM_PACKAGES)
	@bash Tests/Arm/run .build/arm

SECONDS ?= 60
fuzz: packages
	@SWIFT=$(SWIFT) Tests/Fuzzing/run $(SECONDS) $(TARGETS)

# Each in a build folder of its own, with optimisation, since all takes several times as long; so a tenth of the mutants. What tests
# start as a process is under the sanitizer as well. ThreadSanitizer sees locks of the C library alone: Sources/ByteAccess/Threads/Mutex.swift.
FILTER ?= .
MUTANTS ?= 0.1
SANITIZED = PEFTFILE_MUTANTS=$(MUTANTS) $(SWIFT) test -c release -Xswiftc -enable-testing --disable-xctest --filter '$(FILTER)'
test-asan: packages
	PEFTFILE_SANITIZER=address ASAN_OPTIONS=detect_leaks=0 $(SANITIZED) --sanitize address --scratch-path .build-asan

test-tsan: packages
	PEFTFILE_SANITIZER=thread TSAN_OPTIONS=suppressions=$(CURDIR)/.ci/thread-sanitizer.txt $(SANITIZED) --sanitize thread -Xswiftc -DTHREAD_SANITIZER --scratch-path .build-tsan

coverage: packages
	@SWIFT=$(SWIFT) bash .ci/coverage

# All three in one build folder, with optimisation.
RELEASE_TESTS = $(SWIFT) test -c release -Xswiftc -enable-testing --disable-xctest --scratch-path .build-memory
corpus: packages
	$(RELEASE_TESTS) --filter CorpusTests

MB ?= 4096
memory: packages
	PEFTFILE_MEMORY_MB=$(MB) $(RELEASE_TESTS) --filter MemoryTests

faults: packages
	@mkdir -p .build-memory
	@PEFTFILE_FAULT_TABLE=1 $(RELEASE_TESTS) --filter FaultTests >.build-memory/faults.log 2>&1 || { cat .build-memory/faults.log; exit 1; }
	@sed -n 's/^fault //p' .build-memory/faults.log | sort

bench: packages build
	$(SWIFT) build -c release --static-swift-stdlib --product peftfile-bench
	.build/release/peftfile-bench $(BENCH)

docs:
	@bash .ci/packages zlib1g-dev
	$(SWIFT) build --target Peftfile
	@Packaging/docs "$$($(SWIFT) build --show-bin-path)" .build/docs/Peftfile.doccarchive
	@echo .build/docs/Peftfile.doccarchive

install: build
	@Packaging/install $(PEFTFILE) $(DESTDIR)$(PREFIX)

dist: build
	@bash .ci/packages binutils
	@Packaging/dist

deb: build
	@bash .ci/packages dpkg-dev binutils
	@Packaging/deb

wheel: build
	@bash .ci/packages zip openssl binutils
	@Packaging/wheel

packages:
	@bash .ci/packages $(PACKAGES)

clean:
	$(SWIFT) package clean
	rm -rf .build/demo .build/bench .build/docs .build-fuzz .build-asan .build-tsan .build-coverage .build-memory dist
