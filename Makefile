# dwell: build, test, install. `make help` lists the targets.

VERSION := 0.1.0

PREFIX     ?= /usr/local
BINDIR     ?= $(PREFIX)/bin
LIBDIR     ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
MANDIR     ?= $(PREFIX)/share/man
SYSCONFDIR ?= /etc
UNITDIR    ?= $(PREFIX)/lib/systemd/system
DESTDIR    ?=

BUILD   ?= build
CC      ?= cc
CFLAGS  ?= -O2 -g
LDFLAGS ?=
PYTHON  ?= /usr/bin/python3
V       ?= 0
Q       := $(if $(filter 1,$(V)),,@)

WARNINGS := -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
            -Wpointer-arith -Wcast-qual -Wwrite-strings -Wvla -Wformat=2 -Wundef -Wnull-dereference \
            -Wimplicit-fallthrough
WERROR   ?=
HARDEN   := -fstack-protector-strong -fno-strict-aliasing -fvisibility=hidden
# Names of files in the programs are those in the tree: the same bytes wherever it is built.
MAPPED   := -ffile-prefix-map=$(CURDIR)=.
BASE     := -std=c11 $(MAPPED) -D_GNU_SOURCE -DDWELL_VERSION='"$(VERSION)"' -fPIE $(WARNINGS) $(WERROR) $(HARDEN)

PACKAGES      := libuv libmicrohttpd jansson libdeflate libxxhash
TEST_PACKAGES := cmocka libprotobuf-c gsl
PKG_CFLAGS  := $(shell pkg-config --cflags $(PACKAGES) 2>/dev/null)
PKG_LIBS    := $(shell pkg-config --libs libuv libmicrohttpd jansson libdeflate 2>/dev/null) -lm
TEST_CFLAGS := $(shell pkg-config --cflags $(TEST_PACKAGES) 2>/dev/null) -DTEST_WITH_GSL
SECCOMP     := $(shell pkg-config --cflags --libs libseccomp 2>/dev/null)
TEST_LIBS   := $(shell pkg-config --libs $(TEST_PACKAGES) 2>/dev/null)

DAEMON_SRC := $(filter-out daemon/main.c,$(wildcard daemon/*.c daemon/*/*.c daemon/io/export/*.c daemon/io/probe/*.c))
DAEMON_OBJ := $(DAEMON_SRC:%.c=$(BUILD)/%.o) $(BUILD)/gen/families_json.o $(BUILD)/gen/sandbox_filter.o
CLIENT_OBJ := $(BUILD)/client/dwell.o $(BUILD)/client/dwell_bench.o

# The tool, with what it takes of the daemon's lowest layer.
CLI_PACKAGES := libcurl ncursesw jansson
CLI_CFLAGS := $(shell pkg-config --cflags $(CLI_PACKAGES) 2>/dev/null)
CLI_LIBS   := $(shell pkg-config --libs $(CLI_PACKAGES) 2>/dev/null) -lm
CLI_OBJ    := $(patsubst %.c,$(BUILD)/%.o,$(filter-out client/cli/main.c,$(wildcard client/cli/*.c)))
CLI_BASE   := $(patsubst %,$(BUILD)/daemon/base/%.o,buf date err log near num str)

# What carries OTLP, by gRPC; opened when it is needed (daemon/io/export/transport.h). One source, two
# modules: for TLS, and a smaller one without. Left out where gRPC's headers are missing.
HAVE_GRPC   := $(shell pkg-config --exists grpc libprotobuf-c 2>/dev/null && command -v protoc-c)
MODULES     := $(if $(HAVE_GRPC),$(BUILD)/dwell_otlp.so $(BUILD)/dwell_otlp_insecure.so)
MODULE_LIBS := $(shell pkg-config --libs libprotobuf-c 2>/dev/null) -lgpr
MODULE_OBJ  := $(patsubst %,$(BUILD)/pic/%.o,daemon/base/mem $(addprefix daemon/io/export/otlp_module/,channel library response))

PROTO_OBJ  := $(patsubst proto/%.proto,$(BUILD)/gen/%.pb-c.o,$(wildcard proto/*.proto))

# These link gRPC, for a server of their own.
GRPC_TESTS := test_otlp_module
UNIT_SRC  := $(filter-out $(if $(HAVE_GRPC),,$(GRPC_TESTS:%=tests/unit/%.c)),$(wildcard tests/unit/test_*.c))
UNIT_BIN  := $(UNIT_SRC:%.c=$(BUILD)/%)
FUZZ_SRC  := $(wildcard tests/fuzz/fuzz_*.c)
# These are nothing without the module.
GRPC_BENCHES := bench_end_to_end bench_export bench_outage
BENCH_SRC := $(filter-out $(if $(HAVE_GRPC),,$(GRPC_BENCHES:%=tests/bench/%.c)),$(wildcard tests/bench/bench_*.c))
BENCH_BIN := $(BENCH_SRC:%.c=$(BUILD)/%)

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:

JOBS    ?= $(shell nproc)
SUBMAKE := $(MAKE) $(if $(filter 1,$(V)),,-s) --no-print-directory -j$(JOBS)

##@ Build
.PHONY: all
all: $(BUILD)/dwelld $(MODULES) $(BUILD)/dwell $(BUILD)/libdwell.a $(BUILD)/libdwell.so ## the daemon, its modules, the tool, the C client

$(BUILD)/dwelld: $(BUILD)/daemon/main.o $(DAEMON_OBJ)
	$(Q)echo "  LINK  $@"; $(CC) $(BASE) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(PKG_LIBS)

$(BUILD)/dwell: $(BUILD)/client/cli/main.o $(CLI_OBJ) $(CLI_BASE) $(BUILD)/daemon/base/mem.o $(BUILD)/libdwell.a
	$(Q)echo "  LINK  $@"; $(CC) $(BASE) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(CLI_LIBS) -pthread

# As needed: of gRPC's libraries only what the module calls is named in it.
MODULE_LINK = $(Q)echo "  LINK  $@"; $(CC) $(CFLAGS) $(LDFLAGS) -shared -Wl,-soname,$(@F) -Wl,--as-needed -o $@ $^

$(BUILD)/dwell_otlp.so: $(MODULE_OBJ) $(BUILD)/pic/daemon/io/export/otlp_module/credentials_tls.o $(BUILD)/pic/gen/otlp.pb-c.o
	$(MODULE_LINK) -lgrpc $(MODULE_LIBS) -pthread

$(BUILD)/dwell_otlp_insecure.so: $(MODULE_OBJ) $(BUILD)/pic/daemon/io/export/otlp_module/credentials_insecure.o $(BUILD)/pic/gen/otlp.pb-c.o
	$(MODULE_LINK) -lgrpc_unsecure $(MODULE_LIBS) -pthread

$(BUILD)/libdwell.a: $(CLIENT_OBJ)
	$(Q)echo "  AR    $@"; rm -f $@; $(AR) rcs $@ $^

$(BUILD)/libdwell.so: $(CLIENT_OBJ)
	$(Q)echo "  LINK  $@"; $(CC) $(CFLAGS) $(LDFLAGS) -shared -Wl,-soname,libdwell.so.0 -o $@.0 $^ -pthread
	$(Q)ln -sf libdwell.so.0 $@

$(BUILD)/daemon/%.o: daemon/%.c
	$(Q)mkdir -p $(@D); echo "  CC    $<"; $(CC) $(BASE) $(PKG_CFLAGS) $(CFLAGS) -Idaemon -MMD -MP -c -o $@ $<

$(BUILD)/daemon/io/export/transport_load.o: BASE += -DDWELL_LIBDIR='"$(LIBDIR)"'

$(BUILD)/pic/daemon/%.o: daemon/%.c | $(BUILD)/gen/otlp.pb-c.h
	$(Q)mkdir -p $(@D); echo "  CC    $<"; $(CC) $(BASE) -fPIC $(CFLAGS) -Idaemon -isystem $(BUILD)/gen -MMD -MP -c -o $@ $<

$(BUILD)/pic/gen/%.o: $(BUILD)/gen/%.c
	$(Q)mkdir -p $(@D); echo "  CC    $<"; $(CC) $(MAPPED) $(CFLAGS) -fvisibility=hidden -fPIC -c -o $@ $<

$(BUILD)/client/cli/%.o: client/cli/%.c
	$(Q)mkdir -p $(@D); echo "  CC    $<"; $(CC) $(BASE) $(CLI_CFLAGS) $(CFLAGS) -Idaemon -Iclient -MMD -MP -c -o $@ $<

$(BUILD)/client/%.o: client/%.c
	$(Q)mkdir -p $(@D); echo "  CC    $<"; $(CC) $(BASE) -fPIC $(CFLAGS) -pthread -Iclient -MMD -MP -c -o $@ $<

# config/families.json as a C string, line by line. "?" is escaped as two of them may begin a trigraph;
# the pragma is for strings longer than what every compiler has to take.
$(BUILD)/gen/families_json.c: config/families.json Makefile
	$(Q)mkdir -p $(@D); echo "  EMBED $<"; { echo '#include "conf/families.h"'; echo; \
	    echo '#pragma GCC diagnostic ignored "-Woverlength-strings"'; \
	    echo 'const char conf_families_builtin[] ='; \
	    sed -e 's/[\\"?]/\\&/g' -e 's/^/    "/' -e 's/$$/\\n"/' $<; \
	    echo '    ;'; echo 'const size_t conf_families_builtin_len = sizeof conf_families_builtin - 1;'; } > $@

# The filters of system calls are made here, of names: the daemon does without the library that knows them.
$(BUILD)/gen/make_filter: daemon/io/seccomp/make_filter.c
	$(Q)mkdir -p $(@D); echo "  LINK  $@"; $(CC) $(BASE) $(CFLAGS) $(LDFLAGS) -Idaemon -MMD -MP -o $@ $< $(SECCOMP)

$(BUILD)/gen/sandbox_filter.c: $(BUILD)/gen/make_filter
	$(Q)echo "  MAKE  $@"; $< > $@

$(BUILD)/gen/families_json.o $(BUILD)/gen/sandbox_filter.o: $(BUILD)/gen/%.o: $(BUILD)/gen/%.c
	$(Q)echo "  CC    $<"; $(CC) $(BASE) $(CFLAGS) -Idaemon -MMD -MP -c -o $@ $<

$(BUILD)/gen/%.pb-c.c $(BUILD)/gen/%.pb-c.h &: proto/%.proto
	$(Q)mkdir -p $(BUILD)/gen; echo "  PROTO $<"; protoc-c -Iproto --c_out=$(BUILD)/gen $<

$(BUILD)/gen/%.pb-c.o: $(BUILD)/gen/%.pb-c.c
	$(Q)echo "  CC    $<"; $(CC) $(CFLAGS) $(TEST_CFLAGS) -c -o $@ $<

##@ Use
.PHONY: run demo demo-otlp deps
deps: ## install the packages that are missing (apt; elsewhere: say which)
	$(Q)sh config/packaging/deps.sh build

run: deps ## build and run the daemon on built-in defaults; ARGS='--set http.listen=127.0.0.1:0'
	$(Q)$(SUBMAKE) all
	$(Q)exec $(BUILD)/dwelld $(ARGS)

demo: ## real models from several processes, and the report on them
	$(Q)sh config/packaging/deps.sh build demo
	$(Q)$(SUBMAKE) all $(BUILD)/tests/demo/matrix
	$(Q)DWELL_BUILD=$(BUILD) $(PYTHON) tests/demo/demo.py $(ARGS)

demo-otlp: ## a traced request, as a real OpenTelemetry Collector got it (built once, by Go)
	$(Q)sh config/packaging/deps.sh build
	$(Q)$(SUBMAKE) all $(BUILD)/tests/demo/traced
	$(Q)DWELL_BUILD=$(BUILD) sh tests/peers/build_collector.sh
	$(Q)DWELL_BUILD=$(BUILD) $(PYTHON) tests/demo/demo_otlp.py $(ARGS)

$(BUILD)/tests/demo/%: tests/demo/%.c $(BUILD)/libdwell.a
	$(Q)mkdir -p $(@D); echo "  LINK  $@"; $(CC) $(BASE) $(CFLAGS) $(LDFLAGS) -Iclient -o $@ $< $(BUILD)/libdwell.a -pthread -lm

##@ Test
UNIT_OBJ := $(filter-out $(BUILD)/daemon/base/mem.o,$(DAEMON_OBJ)) $(BUILD)/tests/unit/mem_fault.o
UNIT_HELPERS := $(patsubst %.c,$(BUILD)/%.o,$(filter-out $(UNIT_SRC) $(GRPC_TESTS:%=tests/unit/%.c) \
                    tests/unit/otlp_server.c tests/unit/mem_fault.c,$(wildcard tests/unit/*.c)))

# Modules of tests mostly wait.
TEST_JOBS ?= $(shell expr $(JOBS) + 1)
RUN_TESTS = $(PYTHON) -B tests/integration/run.py --jobs $(TEST_JOBS)

.PHONY: check check-all unit integration lint format asan tsan fuzz fuzz-replay bench bench-outage
check: ## everything that Debian's packages can show; installs them first
	$(Q)sh config/packaging/deps.sh build test demo lint
	$(Q)$(MAKE) --no-print-directory check-all

check-all: export WERROR = -Werror
check-all:
	$(Q)$(SUBMAKE) all
	$(Q)$(SUBMAKE) lint
	$(Q)$(SUBMAKE) unit
	$(Q)$(SUBMAKE) asan
	$(Q)$(SUBMAKE) tsan
	$(Q)$(SUBMAKE) fuzz-replay
	$(Q)$(RUN_TESTS) tests/integration
	$(Q)$(RUN_TESTS) tests/clients/python
	$(Q)cd tests/clients && $(PYTHON) -B -m unittest -v conformance.Facts conformance.Python conformance.C by_hand bench_table
	$(Q)DWELL_BUILD=build/asan $(RUN_TESTS) tests/integration test_hostile test_ingest test_journal
	$(Q)DWELL_BUILD=build/tsan $(RUN_TESTS) tests/integration test_hostile

integration: ## against peers from PyPI, npm and Go; what cannot be had is skipped, with REQUIRE_PEERS=1 a failure
	$(Q)sh config/packaging/deps.sh build peers
	$(Q)$(SUBMAKE) all
	$(Q)$(ASAN_MAKE) all
	$(Q)DWELL_BUILD=$(BUILD) PYTHON=$(PYTHON) JOBS=$(JOBS) sh tests/peers/run.sh

lint: ## layers, layout, generated texts, a second compiler
	$(Q)sh config/packaging/deps.sh build lint
	$(Q)BUILD=$(BUILD) $(PYTHON) tests/lint/run

.PHONY: audit sbom print-flags
audit: ## minutes: static analysis, two builds of the same bytes, the library's interface; ONLY='cppcheck tidy reproducible abi'
	$(Q)sh config/packaging/deps.sh build audit
	$(Q)$(SUBMAKE) all
	$(Q)BUILD=$(BUILD) ONLY='$(ONLY)' $(PYTHON) -B tests/lint/audit

# For tools that read C as the compiler does.
print-flags:
	$(Q):$(info $(BASE) $(PKG_CFLAGS) $(CLI_CFLAGS) -DDWELL_LIBDIR='"$(LIBDIR)"' -Idaemon -Iclient -isystem $(BUILD)/gen)

sbom: ## what the programs are made of, down to Debian's packages: build/dwell.spdx.json
	$(Q)sh config/packaging/deps.sh build
	$(Q)$(SUBMAKE) all
	$(Q)$(PYTHON) -B config/packaging/sbom.py $(BUILD) $(VERSION) > $(BUILD)/dwell.spdx.part
	$(Q)mv $(BUILD)/dwell.spdx.part $(BUILD)/dwell.spdx.json
	$(Q)echo "  SBOM  $(BUILD)/dwell.spdx.json"

$(BUILD)/tests/unit/%.o: tests/unit/%.c | $(PROTO_OBJ:.o=.h)
	$(Q)mkdir -p $(@D); echo "  CC    $<"; $(CC) $(BASE) $(PKG_CFLAGS) $(TEST_CFLAGS) $(CFLAGS) -DTEST_DATA='"tests/data"' -DTEST_BUILD='"$(BUILD)"' -Idaemon -Iclient -Itests/unit -isystem $(BUILD)/gen -MMD -MP -c -o $@ $<

# All that tests are about. Of an archive a test is linked with what it needs alone; one that includes its
# module's .c, to reach statics, needs no object of it.
UNIT_LIB := $(BUILD)/tests/unit/all.a

$(UNIT_LIB): $(UNIT_OBJ) $(UNIT_HELPERS) $(CLIENT_OBJ) $(PROTO_OBJ)
	$(Q)rm -f $@; $(AR) rcs --thin $@ $^

$(BUILD)/tests/unit/test_%: $(BUILD)/tests/unit/test_%.o $(UNIT_LIB)
	$(Q)echo "  LINK  $@"; $(CC) $(BASE) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(UNIT_LIB) $(PKG_LIBS) $(TEST_LIBS) -pthread

# Of the tool; it has nothing of the daemon but its lowest layer.
$(BUILD)/tests/unit/test_cli_%: $(BUILD)/tests/unit/test_cli_%.o $(CLI_OBJ) $(CLI_BASE) $(CLIENT_OBJ) $(BUILD)/tests/unit/mem_fault.o
	$(Q)echo "  LINK  $@"; $(CC) $(BASE) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(CLI_LIBS) $(TEST_LIBS) -pthread

$(GRPC_TESTS:%=$(BUILD)/tests/unit/%): $(BUILD)/tests/unit/otlp_server.o | $(MODULES)
$(GRPC_TESTS:%=$(BUILD)/tests/unit/%): TEST_LIBS += -lgrpc -lgpr

UNIT_RUN := $(if $(strip $(ONLY)),$(ONLY:%=$(BUILD)/tests/unit/%),$(UNIT_BIN))

unit: $(UNIT_RUN) ## unit tests; ONLY='test_hist test_conf'
	$(Q)printf '%s\n' $(UNIT_RUN) | xargs -r -n 1 -P $(JOBS) sh -c '"$$0" > "$$0.out" 2>&1; s=$$?; cat "$$0.out"; exit $$s'

SAN_FLAGS  := -O1 -g1 -fno-omit-frame-pointer
ASAN_FLAGS := $(SAN_FLAGS) -fsanitize=address,undefined -fno-sanitize-recover=undefined
TSAN_FLAGS := $(SAN_FLAGS) -fsanitize=thread
ASAN_MAKE  := $(SUBMAKE) BUILD=build/asan CFLAGS='$(ASAN_FLAGS)' HARDEN=-fno-strict-aliasing

asan: ## unit tests and the daemon under AddressSanitizer and UndefinedBehaviorSanitizer
	$(Q)$(ASAN_MAKE) all unit

# Those that take longest first.
TSAN_UNITS := test_families test_otlp_metrics test_probe \
              test_dwell_client test_dwell_acknowledge test_dwell_span test_dwell_budget test_dwell_bench test_snapshot test_handover \
              test_export_queue test_exporter test_metric_exporter test_probe_mailbox test_journal test_state_saver

tsan: ## what has several threads, under ThreadSanitizer
	$(Q)$(SUBMAKE) BUILD=build/tsan CFLAGS='$(TSAN_FLAGS)' HARDEN=-fno-strict-aliasing all unit \
	    ONLY='$(TSAN_UNITS)'

FUZZ_SECONDS ?= 60
FUZZ_NAMES   := $(FUZZ_SRC:tests/fuzz/fuzz_%.c=%)
FUZZ_OBJ     := $(DAEMON_OBJ) $(BUILD)/tests/unit/wire_recorder.o $(BUILD)/tests/unit/wire_otlp.o \
                $(BUILD)/tests/unit/wire_speller.o $(PROTO_OBJ)

FUZZ_LIBS    := $(shell pkg-config --libs libprotobuf-c 2>/dev/null)

$(BUILD)/tests/fuzz/%.o: tests/fuzz/%.c | $(PROTO_OBJ:.o=.h)
	$(Q)mkdir -p $(@D); echo "  CC    $<"; $(CC) $(BASE) $(PKG_CFLAGS) $(TEST_CFLAGS) $(CFLAGS) -Idaemon -Itests/unit -Itests/bench -isystem $(BUILD)/gen -MMD -MP -c -o $@ $<

$(BUILD)/tests/fuzz/replay_%: $(BUILD)/tests/fuzz/fuzz_%.o $(BUILD)/tests/fuzz/replay.o $(FUZZ_OBJ)
	$(Q)echo "  LINK  $@"; $(CC) $(BASE) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(PKG_LIBS) $(FUZZ_LIBS) -pthread

$(BUILD)/tests/fuzz/fuzz_%: $(BUILD)/tests/fuzz/fuzz_%.o $(FUZZ_OBJ)
	$(Q)echo "  LINK  $@"; $(CC) $(BASE) $(CFLAGS) $(LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(PKG_LIBS) $(FUZZ_LIBS) -pthread

FUZZ_RUN := $(if $(ONLY),$(ONLY),$(FUZZ_NAMES))

fuzz: ## each fuzz target for FUZZ_SECONDS with clang's fuzzer, on a copy of its corpus; ONLY='http conf'
	$(Q)sh config/packaging/deps.sh build fuzz
	$(Q)$(SUBMAKE) BUILD=build/fuzz CC=clang CFLAGS='$(ASAN_FLAGS) -fsanitize=fuzzer-no-link' \
	    HARDEN=-fno-strict-aliasing $(FUZZ_RUN:%=build/fuzz/tests/fuzz/fuzz_%)
	$(Q)set -e; for t in $(FUZZ_RUN); do mkdir -p build/fuzz/corpus/$$t; \
	    build/fuzz/tests/fuzz/fuzz_$$t -max_total_time=$(FUZZ_SECONDS) -timeout=60 -artifact_prefix=build/fuzz/ \
	    build/fuzz/corpus/$$t tests/fuzz/corpus/$$t; done

fuzz-replay: ## each fuzz target once on every file of its corpus, under sanitizers
	$(Q)$(ASAN_MAKE) $(FUZZ_NAMES:%=build/asan/tests/fuzz/replay_%)
	$(Q)set -e; export ASAN_OPTIONS=abort_on_error=1 UBSAN_OPTIONS=abort_on_error=1; \
	    for t in $(FUZZ_NAMES); do build/asan/tests/fuzz/replay_$$t tests/fuzz/corpus/$$t; done

COVERAGE_MAKE := $(SUBMAKE) BUILD=build/coverage CFLAGS='-O0 -g --coverage -fprofile-update=atomic' HARDEN=-fno-strict-aliasing

.PHONY: coverage
coverage: ## lines of the daemon that unit tests and the fuzz corpus run; fails below 95 % of wire/
	$(Q)sh config/packaging/deps.sh build test
	$(Q)mkdir -p build/coverage; find build/coverage -name '*.gcda' -delete
	$(Q)$(COVERAGE_MAKE) all $(FUZZ_NAMES:%=build/coverage/tests/fuzz/replay_%)
	$(Q)$(COVERAGE_MAKE) unit >/dev/null
	$(Q)set -e; for t in $(FUZZ_NAMES); do build/coverage/tests/fuzz/replay_$$t tests/fuzz/corpus/$$t; done
	$(Q)$(PYTHON) -B tests/unit/coverage.py build/coverage

$(BUILD)/tests/bench/%.o: tests/bench/%.c
	$(Q)mkdir -p $(@D); echo "  CC    $<"; $(CC) $(BASE) $(PKG_CFLAGS) $(CFLAGS) -Idaemon -Iclient -Itests/unit -Itests/bench -MMD -MP -c -o $@ $<

$(BUILD)/tests/bench/bench_%: $(BUILD)/tests/bench/bench_%.o $(UNIT_OBJ) $(CLIENT_OBJ)
	$(Q)echo "  LINK  $@"; $(CC) $(BASE) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(PKG_LIBS) -pthread

# A receiver for benches and integration tests; a process of its own, as it has gRPC from its start.
$(BUILD)/tests/bench/otlp_sink: $(BUILD)/tests/bench/otlp_sink.o $(BUILD)/tests/unit/otlp_server.o
	$(Q)echo "  LINK  $@"; $(CC) $(BASE) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lgrpc -lgpr -pthread

$(if $(HAVE_GRPC),$(BUILD)/tests/bench/bench_memory $(GRPC_BENCHES:%=$(BUILD)/tests/bench/%)): | \
    $(BUILD)/tests/bench/otlp_sink $(MODULES)

bench: ## speed and memory: one JSON line each, exit 1 when a limit is broken
	$(Q)sh config/packaging/deps.sh build test
	$(Q)$(SUBMAKE) all $(BENCH_BIN)
	$(Q)failed=0; for b in $(BENCH_BIN); do DWELL_BUILD=$(BUILD) $$b || failed=1; done; exit $$failed

.PHONY: bench-clients
bench-clients: ## what the clients cost their applications, in one table
	$(Q)sh config/packaging/deps.sh build test
	$(Q)$(SUBMAKE) all $(BUILD)/tests/bench/bench_client
	$(Q)DWELL_BUILD=$(BUILD) $(PYTHON) -B tests/bench/clients/compare.py

# Loops are to be as fast as their compiler can make them: what waits for memory is to wait for nothing else.
WORKLOAD_OBJ := $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/bench/workloads/*.c))
WORKLOAD_CFLAGS := -O3 $(shell $(CC) -march=native -E -x c /dev/null >/dev/null 2>&1 && echo -march=native)

$(BUILD)/tests/bench/workloads/%.o: tests/bench/workloads/%.c
	$(Q)mkdir -p $(@D); echo "  CC    $<"; $(CC) $(BASE) $(CFLAGS) $(WORKLOAD_CFLAGS) -pthread -Iclient -MMD -MP -c -o $@ $<

$(BUILD)/tests/bench/workloads/run: $(WORKLOAD_OBJ) $(BUILD)/libdwell.a
	$(Q)echo "  LINK  $@"; $(CC) $(BASE) $(CFLAGS) $(LDFLAGS) -o $@ $^ -pthread -lm

.PHONY: workloads
workloads: ## are verdicts right? an hour on an idle machine; QUICK=1: a part of it; ARGS='--only NAME'
	$(Q)sh config/packaging/deps.sh build workloads
	$(Q)$(SUBMAKE) all $(BUILD)/tests/bench/workloads/run
	$(Q)DWELL_BUILD=$(BUILD) $(PYTHON) -B tests/bench/workloads/workloads.py $(if $(QUICK),--quick) $(ARGS)

SOAK_MINUTES ?= 20

.PHONY: soak
soak: ## twenty minutes of load, reloads and scrapes: memory must not grow, nothing be unaccounted for
	$(Q)sh config/packaging/deps.sh build test
	$(Q)$(SUBMAKE) all
	$(Q)DWELL_BUILD=$(BUILD) $(PYTHON) -B tests/bench/soak.py --minutes $(SOAK_MINUTES) $(ARGS)

KILLS ?= 200

.PHONY: kills
kills: ## kill -9 the daemon KILLS times under load: is all there that was acknowledged, once?
	$(Q)$(SUBMAKE) all
	$(Q)cd tests/integration && DWELL_BUILD=$(abspath $(BUILD)) DWELL_KILLS=$(KILLS) $(PYTHON) -B -m unittest -v \
	    test_kill.TestKill.test_kill_loses_nothing_and_counts_nothing_twice

TIMES ?= 5
CHAOS_ARGS = --times $(TIMES) $(if $(ONLY),--only '$(ONLY)') $(if $(SEED),--seed $(SEED)) $(ARGS)

.PHONY: chaos
chaos: ## faults under load, and what each costs: TIMES=50, TIMES=quick, ONLY='SIGSTOP; no memory', SEED=7
	$(Q)sh config/packaging/deps.sh build test
	$(Q)$(SUBMAKE) all $(if $(HAVE_GRPC),$(BUILD)/tests/bench/otlp_sink)
	$(Q)DWELL_BUILD=$(BUILD) $(PYTHON) -B tests/chaos/chaos.py $(CHAOS_ARGS)

SECONDS ?= 600

bench-outage: ## a collector that is gone for SECONDS, under 10,000 spans a second
	$(Q)sh config/packaging/deps.sh build test
	$(Q)$(SUBMAKE) all $(BUILD)/tests/bench/bench_outage
	$(Q)DWELL_BUILD=$(BUILD) $(BUILD)/tests/bench/bench_outage $(SECONDS)

format: ## lay out the C code
	$(Q)clang-format -i $(shell git ls-files '*.c' '*.h')

##@ Install
UNITS    := systemd/dwelld.service systemd/dwelld@.service systemd/dwelld.socket
ETC_FILE := $(SYSCONFDIR)/dwell/dwelld.json

.PHONY: install uninstall dist clean help
install: all ## under DESTDIR and PREFIX
	install -Dm755 $(BUILD)/dwelld $(DESTDIR)$(BINDIR)/dwelld
	$(if $(MODULES),install -Dm644 -t $(DESTDIR)$(LIBDIR)/dwell $(MODULES))
	install -Dm644 client/dwell.h $(DESTDIR)$(INCLUDEDIR)/dwell.h
	install -Dm644 client/dwell_bench.h $(DESTDIR)$(INCLUDEDIR)/dwell_bench.h
	install -Dm644 $(BUILD)/libdwell.a $(DESTDIR)$(LIBDIR)/libdwell.a
	install -Dm755 $(BUILD)/libdwell.so.0 $(DESTDIR)$(LIBDIR)/libdwell.so.0
	ln -sf libdwell.so.0 $(DESTDIR)$(LIBDIR)/libdwell.so
	install -d $(DESTDIR)$(LIBDIR)/pkgconfig
	sed -e 's|@PREFIX@|$(PREFIX)|;s|@LIBDIR@|$(LIBDIR)|;s|@INCLUDEDIR@|$(INCLUDEDIR)|;s|@VERSION@|$(VERSION)|' \
	    client/dwell.pc.in > $(DESTDIR)$(LIBDIR)/pkgconfig/dwell.pc
	install -Dm755 $(BUILD)/dwell $(DESTDIR)$(BINDIR)/dwell
	install -Dm644 client/cli/dwell.1 $(DESTDIR)$(MANDIR)/man1/dwell.1
	install -Dm644 client/cli/dwell.bash-completion $(DESTDIR)$(PREFIX)/share/bash-completion/completions/dwell
	install -Dm644 client/cli/_dwell $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_dwell
	install -Dm644 client/cli/dwell.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/dwell.fish
	install -Dm644 config/packaging/dwelld.8 $(DESTDIR)$(MANDIR)/man8/dwelld.8
	install -Dm644 config/packaging/dwelld.bash-completion $(DESTDIR)$(PREFIX)/share/bash-completion/completions/dwelld
	install -Dm644 -t $(DESTDIR)$(UNITDIR) $(UNITS)
	sed -i -e 's|/usr/bin/|$(BINDIR)/|; s|/etc/|$(SYSCONFDIR)/|' $(UNITS:systemd/%=$(DESTDIR)$(UNITDIR)/%)
	install -Dm644 systemd/sysusers.conf $(DESTDIR)$(PREFIX)/lib/sysusers.d/dwell.conf
	install -Dm644 systemd/tmpfiles.conf $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/dwell.conf
	install -d $(DESTDIR)$(SYSCONFDIR)/dwell
	test -e $(DESTDIR)$(ETC_FILE) || echo '{}' > $(DESTDIR)$(ETC_FILE)

# A configuration that somebody has written stays.
uninstall: ## what install has put there
	rm -f $(DESTDIR)$(BINDIR)/dwell $(DESTDIR)$(MANDIR)/man1/dwell.1 \
	    $(DESTDIR)$(PREFIX)/share/bash-completion/completions/dwell \
	    $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_dwell $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/dwell.fish
	rm -f $(DESTDIR)$(BINDIR)/dwelld $(DESTDIR)$(INCLUDEDIR)/dwell.h $(DESTDIR)$(INCLUDEDIR)/dwell_bench.h $(DESTDIR)$(LIBDIR)/libdwell.a \
	    $(DESTDIR)$(LIBDIR)/libdwell.so.0 $(DESTDIR)$(LIBDIR)/libdwell.so $(DESTDIR)$(LIBDIR)/pkgconfig/dwell.pc \
	    $(DESTDIR)$(LIBDIR)/dwell/dwell_otlp.so $(DESTDIR)$(LIBDIR)/dwell/dwell_otlp_insecure.so \
	    $(DESTDIR)$(MANDIR)/man8/dwelld.8 $(DESTDIR)$(PREFIX)/share/bash-completion/completions/dwelld
	rm -f $(UNITS:systemd/%=$(DESTDIR)$(UNITDIR)/%) \
	    $(DESTDIR)$(PREFIX)/lib/sysusers.d/dwell.conf $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/dwell.conf
	if echo '{}' | cmp -s - $(DESTDIR)$(ETC_FILE); then rm $(DESTDIR)$(ETC_FILE); fi
	rmdir $(DESTDIR)$(SYSCONFDIR)/dwell $(DESTDIR)$(LIBDIR)/dwell 2>/dev/null || true

# Built with the flags that Debian has for all its packages, paths of this tree left out.
DEB_LIBDIR = /usr/lib/$(shell dpkg-architecture -qDEB_HOST_MULTIARCH)
DEB_FLAGS  = CFLAGS='$(shell dpkg-buildflags --get CFLAGS) $(shell dpkg-buildflags --get CPPFLAGS)' LDFLAGS='$(shell dpkg-buildflags --get LDFLAGS)'

.PHONY: deb deb-files check-packages
deb: ## Debian packages, in build/deb
	$(Q)sh config/packaging/deps.sh build deb
	$(Q)$(SUBMAKE) deb-files

# Make asks for its flags before the first line runs: what says them must be installed by then.
deb-files:
	$(Q)rm -rf build/deb/root; mkdir -p build/deb
	$(Q)$(SUBMAKE) BUILD=build/deb PREFIX=/usr LIBDIR=$(DEB_LIBDIR) DESTDIR=build/deb/root $(DEB_FLAGS) install
	$(Q)sh config/packaging/deb.sh build/deb $(VERSION)

check-packages: deb ## the packages, in a root that has nothing else; some minutes
	$(Q)sh config/packaging/deps.sh packages
	$(Q)$(RUN_TESTS) tests/packaging

dist: ## a tar archive of the last commit
	$(Q)mkdir -p $(BUILD); git archive --prefix=dwell-$(VERSION)/ -o $(BUILD)/dwell-$(VERSION).tar.gz HEAD

clean: ## remove what was built
	rm -rf build

HELP_WIDTH = $(shell awk -F: '/^[a-z-]+:.*\#\# / && length($$1) > most {most = length($$1)} END {print most}' Makefile)

help: ## this list
	$(Q)awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-$(HELP_WIDTH)s %s\n", $$1, $$2}' Makefile

-include $(shell find $(BUILD)/ -type f -name '*.d' 2>/dev/null)

