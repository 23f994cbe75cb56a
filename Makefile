# wavelog-worker: `make run` tries it, `make test` checks it, `make` builds it, `make help` lists the rest.

CC ?= cc
PKG_CONFIG ?= pkg-config
CLANG ?= clang
CLANG_FORMAT ?= clang-format
CLANG_TIDY ?= clang-tidy
CPPCHECK ?= cppcheck
SHELLCHECK ?= shellcheck
PYTHON ?= /usr/bin/python3
PREFIX ?= /usr/local
JOBS ?= $(shell nproc)

# A build of its own for each set of flags: SAN=1 has ASan and UBSan, SAN=thread has TSan, WERROR=1 takes a warning
# as an error, PORTABLE=1 makes programs that need no library (see `portable` below).
SAN ?=
WERROR ?=
PORTABLE ?=
PORTABLE_GCC ?= gcc
flavour := $(if $(PORTABLE),portable/$(shell $(PORTABLE_GCC) -dumpmachine | sed 's/-.*//'),$(if \
	$(WERROR),strict)$(if $(SAN),san)$(if $(filter thread,$(SAN)),-thread))
B := build$(if $(flavour),/$(flavour))

comma := ,
WARN := -Wall -Wextra -Wshadow -Wconversion -Wformat=2 -Wstrict-prototypes -Wmissing-prototypes -Wvla \
	-Wundef -Wwrite-strings -Wimplicit-fallthrough $(if $(WERROR),-Werror)
HARDEN := -fstack-protector-strong -fstack-clash-protection -fPIE $(if $(filter x86_64,$(shell uname -m)),-fcf-protection)
SANITIZE := $(if $(filter thread,$(SAN)),-fsanitize=thread,-fsanitize=address$(comma)undefined \
	-fno-sanitize-recover=undefined) -fno-omit-frame-pointer
OPT := $(if $(SAN),-O1 -g $(SANITIZE),-O2 -g -D_FORTIFY_SOURCE=3)
# CPPFLAGS, CFLAGS and LDFLAGS are yours: they come last.
ALL_CPPFLAGS = -I. -I$(B)/gen -D_GNU_SOURCE -include shared/base/banned.h $(CPPFLAGS)
ALL_CFLAGS = -std=c11 $(WARN) $(HARDEN) $(OPT) $(CFLAGS)
ALL_LDFLAGS = -pie -Wl,-z,relro,-z,now $(if $(SAN),$(SANITIZE)) $(LDFLAGS)

SHARED_LIBS = $(shell $(PKG_CONFIG) --libs sqlite3 libcrypto yaml-0.1 libcjson)
API_LIBS = -lfcgi $(SHARED_LIBS)
GATEWAY_LIBS = $(shell $(PKG_CONFIG) --libs libwebsockets libuv hiredis libssl) $(SHARED_LIBS) -lpthread
ifdef PORTABLE
CC := $(B)/cc
WARN := $(filter-out -Wconversion,$(WARN)) # some members have another type in musl
ALL_CPPFLAGS += -DWITHOUT_URANDOM
HARDEN := $(if $(filter %/x86_64,$(B)),$(HARDEN),$(filter-out -fcf-protection,$(HARDEN)))
SHARED_LIBS := -lsqlite3 -lcrypto -lyaml -lcjson -lmimalloc
GATEWAY_LIBS := -lwebsockets -luv -lhiredis -lssl $(SHARED_LIBS)
endif

SHARED_SRC := $(wildcard shared/*/*.c)
API_SRC := $(wildcard api/*.c)
GATEWAY_SRC := $(wildcard gateway/*.c gateway/*/*.c)
UNIT_SRC := $(wildcard $(addprefix tests/unit/,$(addsuffix /test_*.c,*  */*)))
FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)
BENCH_SRC := $(wildcard tests/bench/*.c)
SCHEMA := $(sort $(wildcard sql/*.sql))
C_FILES := $(SHARED_SRC) $(API_SRC) $(GATEWAY_SRC) $(UNIT_SRC) $(wildcard tests/fuzz/*.c tests/bench/*.c .ci/*.c)
H_FILES := $(wildcard $(patsubst %,%/*.h,api gateway gateway/* shared/* tests/* tests/unit/* tests/unit/*/*))
SCRIPTS := .ci/packages .ci/portable .ci/run nginx/run nginx/run-site.sh $(wildcard tests/run tests/*/run) $(wildcard examples/hosting/*.sh)

objects = $(patsubst %.c,$(B)/%.o,$(1))
fuzz_objects = $(patsubst %.c,$(B)/fuzz/%.o,$(1))
CLIENT_SCRIPTS := gateway/client/wavelog-worker.js gateway/client/wavelog-worker-socket.js
PROGRAMS := $(B)/wavelog-worker-api $(B)/wavelog-worker-gateway
UNIT_BIN := $(addprefix $(B)/unit/,$(notdir $(basename $(UNIT_SRC))))
FUZZ_BIN := $(patsubst tests/fuzz/%.c,$(B)/fuzz/%,$(FUZZ_SRC))
CLIENT_FILES := $(addprefix $(B)/client/wavelog-worker,.js .mjs .d.ts .d.mts -socket.js)
BENCH_BIN := $(addprefix $(B)/bench/,load bare_loop bare_fastcgi slow_sync.so)

.PHONY: all client run test unit unit-programs e2e chaos format check-format lint cppcheck clang-tidy shellcheck floors fuzz \
	fuzz-programs soak bench bench-smoke bench-programs packages portable portable-test install uninstall clean help
.DELETE_ON_ERROR:
.SECONDARY:

all: $(PROGRAMS) client

help:
	@echo 'make            build both programs into build/'
	@echo 'make run        build and start everything on loopback, with a demo page (installs missing packages)'
	@echo 'make test       everything that must be green before a change lands (installs missing packages)'
	@echo 'make unit       unit tests; SAN=1 for the build with sanitizers'
	@echo 'make e2e        end-to-end tests on real servers; T=tests/e2e/test_x.py or T="-k word" for some'
	@echo 'make fuzz       every fuzzer for FUZZ_SECONDS (60) each'
	@echo 'make soak       SOAK_SECONDS (600) of steady load, then SOAK_KILLS (200) kills under full load'
	@echo 'make chaos      CHAOS_SECONDS (600) of signals, kills and edits for each build, with one process and with three'
	@echo 'make bench      measures the service beside bare loops and nginx + nchan; wants a quiet machine and some minutes'
	@echo 'make format     lay out the sources; make check-format: are they?'
	@echo 'make lint       cppcheck, clang-tidy, shellcheck, and the floors of the folders'
	@echo 'make packages   install what the build needs from Debian; make run and make test do so themselves'
	@echo 'make portable   programs that need no library, and all that belongs to them, in dist/wavelog-worker-*.tar.gz'
	@echo 'make install    programs, sample configuration and schema below DESTDIR/PREFIX (/usr/local)'
	@echo 'make uninstall  takes away what make install has copied; configuration and databases stay'
	@echo 'make clean      remove build/ and dist/'

# The build.

$(B)/wavelog-worker-api: $(call objects,$(API_SRC)) $(B)/libshared.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(API_LIBS)

$(B)/wavelog-worker-gateway: $(call objects,$(GATEWAY_SRC)) $(B)/gen/scripts.o $(B)/libshared.a
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(GATEWAY_LIBS)

$(B)/libshared.a: $(call objects,$(SHARED_SRC)) $(B)/gen/schema.o
	rm -f $@
	$(AR) rcs $@ $^

$(B)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# The .sql files as C strings, so that a program can be started anywhere.
$(B)/gen/schema.c: $(SCHEMA) sql/embed.awk
	@mkdir -p $(@D)
	awk -f sql/embed.awk $(SCHEMA) >$@

# The browser's scripts, for people to copy: the stand-in is whole by itself.
client: $(CLIENT_FILES)

$(B)/client/wavelog-worker-socket.js: $(CLIENT_SCRIPTS)
	@mkdir -p $(@D)
	cat $(CLIENT_SCRIPTS) >$@

$(B)/client/%: gateway/client/%
	@mkdir -p $(@D)
	cp $< $@

# And for the gateway to serve.
$(B)/gen/scripts.c: $(CLIENT_SCRIPTS) gateway/door/embed.awk
	@mkdir -p $(@D)
	LC_ALL=C awk -f gateway/door/embed.awk $(CLIENT_SCRIPTS) >$@

$(B)/gen/%.o: $(B)/gen/%.c
	$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# A unit test links the shared library and the modules of a program that its first lines name: `// needs: gateway/x.c`.
# `// links: uv` names a library of its own.
needs = $(shell sed -n 's,^// needs: ,,p' $(1))
links = $(patsubst %,-l%,$(shell sed -n 's,^// links: ,,p' $(1)))

define unit_rule
$(B)/unit/$(notdir $(1)): $(B)/$(1).o $(call objects,$(call needs,$(1).c)) $(B)/libshared.a
	@mkdir -p $$(@D)
	$$(CC) $$(ALL_LDFLAGS) -o $$@ $$^ -lcmocka $(call links,$(1).c) $$(SHARED_LIBS) -lpthread
endef
$(foreach t,$(basename $(UNIT_SRC)),$(eval $(call unit_rule,$(t))))

unit-programs: $(UNIT_BIN)

# A fuzzer likewise. clang builds all of it once more: libFuzzer is its.
FUZZ_CFLAGS := -std=c11 $(WARN) -Wno-string-concatenation -O1 -g $(SANITIZE)

$(B)/fuzz/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(CLANG) $(ALL_CPPFLAGS) $(FUZZ_CFLAGS) -fsanitize=fuzzer-no-link -MMD -MP -c -o $@ $<

$(B)/fuzz/libshared.a: $(call fuzz_objects,$(SHARED_SRC)) $(B)/gen/schema.o
	rm -f $@
	$(AR) rcs $@ $^

define fuzz_rule
$(B)/fuzz/$(1): $(call fuzz_objects,tests/fuzz/$(1).c $(call needs,tests/fuzz/$(1).c)) $(B)/fuzz/libshared.a
	$$(CLANG) $$(SANITIZE) -fsanitize=fuzzer -o $$@ $$^ $(call links,tests/fuzz/$(1).c) $$(SHARED_LIBS)
endef
$(foreach f,$(notdir $(basename $(FUZZ_SRC))),$(eval $(call fuzz_rule,$(f))))

fuzz-programs: $(FUZZ_BIN)

# The tools of the benchmark: the load generator, and what the service is measured against.

$(B)/bench/load: $(call objects,$(filter-out tests/bench/bare_%.c tests/bench/slow_%.c,$(BENCH_SRC))) $(B)/libshared.a
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(SHARED_LIBS)

$(B)/bench/bare_loop: $(call objects,tests/bench/bare_loop.c)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(SHARED_LIBS)

$(B)/bench/bare_fastcgi: $(call objects,tests/bench/bare_fastcgi.c)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ -lfcgi

$(B)/bench/%.so: tests/bench/%.c Makefile
	@mkdir -p $(@D)
	$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -fPIC -shared -o $@ $<

bench-programs: $(PROGRAMS) $(BENCH_BIN)

# Packages first, and only then a make that asks pkg-config where things are.

run:
	@.ci/packages run
	@$(MAKE) -s -j$(JOBS) all
	@BUILD=$(B) nginx/run

test:
	@tests/run

packages:
	@.ci/packages build

# The parts of `make test`.

unit: unit-programs
	@tests/unit/run $(UNIT_BIN)

FUZZ_SECONDS ?= 60
fuzz: fuzz-programs
	@tests/fuzz/run $(FUZZ_SECONDS) $(FUZZ_BIN)

T ?= tests/e2e
PYTEST_CACHE ?= -p no:cacheprovider
e2e: all
	WORKER_BUILD=$(B) $(PYTHON) -B -m pytest -q $(PYTEST_CACHE) --rootdir=tests/e2e $(PYTEST_OPTIONS) $(T)

SOAK_SECONDS ?= 600
SOAK_KILLS ?= 200
soak: all
	@WORKER_BUILD=$(B) PYTHON=$(PYTHON) tests/soak/run $(SOAK_SECONDS) $(SOAK_KILLS)

# Each build, with one process and with more, one node, two and three: two and a half hours with the usual CHAOS_SECONDS.
CHAOS_SECONDS ?= 600
CHAOS_BUILDS ?= none 1 thread
chaos:
	@.ci/packages test
	@for san in $(CHAOS_BUILDS); do \
		CHAOS_SECONDS=$(CHAOS_SECONDS) $(MAKE) -s SAN=$${san#none} e2e PYTEST_OPTIONS=-s \
			T="tests/e2e/test_chaos.py tests/e2e/test_cluster_chaos.py" || exit 1; \
	done

# BENCH="-k word" measures some rows only; tests/bench/BENCHMARKS.md has the rest.
bench:
	@.ci/packages bench
	@$(MAKE) -s -j$(JOBS) bench-programs
	@WORKER_BUILD=$(B) $(PYTHON) -B tests/bench/bench.py $(BENCH)

bench-smoke: bench-programs
	@WORKER_BUILD=$(B) $(PYTHON) -B tests/bench/bench.py --smoke $(BENCH)

format:
	$(CLANG_FORMAT) -i $(C_FILES) $(H_FILES)

check-format:
	$(CLANG_FORMAT) --dry-run -Werror $(C_FILES) $(H_FILES)

lint: cppcheck clang-tidy shellcheck floors

cppcheck:
	$(CPPCHECK) -q -j$(JOBS) --std=c11 --enable=warning,performance,portability --inline-suppr --error-exitcode=1 \
		--suppressions-list=tests/cppcheck.suppressions -I. -D_GNU_SOURCE \
		$(shell printf '#include <%s>\n' sys/queue.h bsd/sys/tree.h | $(CC) -E - \
			| sed -n 's/^# 1 "\(.*\(queue\|tree\)\.h\)".*/--include=\1/p') $(C_FILES)

clang-tidy:
	printf '%s\n' $(C_FILES) | xargs -P$(JOBS) -I{} $(CLANG_TIDY) --quiet {} -- $(ALL_CPPFLAGS) -std=c11

# Floors, doors and rings of the folders; the calls between files are read from what was compiled.
floors: $(call objects,$(SHARED_SRC) $(API_SRC) $(GATEWAY_SRC))
	@tests/floors --objects $(B)

shellcheck:
	$(SHELLCHECK) -x $(SCRIPTS)

SHARE := $(DESTDIR)$(PREFIX)/share/wavelog-worker
DOC := $(DESTDIR)$(PREFIX)/share/doc/wavelog-worker

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(SHARE)/sql $(SHARE)/client $(DOC)/nginx
	install $(PROGRAMS) $(DESTDIR)$(PREFIX)/bin
	install -m 644 config.sample.yaml nginx/demo.html $(SHARE)
	install -m 644 $(SCHEMA) $(SHARE)/sql
	install -m 644 $(CLIENT_FILES) $(SHARE)/client
	install -m 644 LICENSE $(DOC)
	install -m 644 nginx/wavelog-worker.conf nginx/load-balancer.conf $(DOC)/nginx
	cp -R nginx/snippets $(DOC)/nginx
	cp -R apache systemd examples $(DOC)

# What install has copied. Configuration and databases stay.
uninstall:
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/bin/,$(notdir $(PROGRAMS)))
	rm -rf $(SHARE) $(DOC)

# One tarball for any Linux of this architecture: docs/operating.md. First the libraries, once, then our own programs by
# the rules above.

portable:
	@.ci/packages portable
	@.ci/portable libraries
	@$(MAKE) -s -j$(JOBS) PORTABLE=1 SAN= WERROR= all
	@.ci/portable pack

# What tests/e2e/test_portable.py needs: besides the programs, systems to run them in.
portable-test: portable
	@.ci/portable roots

clean:
	rm -rf build dist

-include $(shell find $(B) \( -name roots -o -name work \) -prune -o -name '*.d' -print 2>/dev/null)
