# A front for those who type `make`: Meson builds, the scripts under tools/ do the rest.
.PHONY: all run test lint docs sanitize fuzz wheel bench bench-guard clean help
.NOTPARALLEL:

all: ## build build/cwsgi
	@tools/build

run: ## serve examples/hello_flask on https://localhost:8080/hello until Ctrl-C
	@tools/run

test: ## every test
	@tools/test

lint: ## formatting, clang-tidy, layers, scripts
	@tools/lint

docs: ## docs/settings.md, from the table of settings
	@tools/docs

sanitize: ## every test under the address and undefined behaviour sanitizers, in build-asan
	@tools/test --sanitize

fuzz: ## each fuzz target for a minute, in build-fuzz (clang); tools/fuzz 300 for longer
	@tools/fuzz

wheel: ## dist/cwsgi-*.whl for hosts without a compiler; tools/wheel python3.12 for another Python
	@tools/wheel

bench: ## cwsgi beside other WSGI servers; tools/bench --help for parts of it
	@tools/bench

bench-guard: ## instructions a request, and the change against the figures kept; tools/bench --guard --keep keeps new ones
	@tools/bench --guard

clean: ## remove what was built
	@rm -rf build build-*

help: ## this text
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile
