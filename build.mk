# The targets that `sam build` calls, one for each function and layer: template.yaml gives them the makefile
# build method. They run in a scratch folder of SAM's, which hands over where the result belongs in ARTIFACTS_DIR.
#
# ERASURE_PYTHON  interpreter of the functions' runtime: it compiles the bytecode, so its version must be the runtime's
# ERASURE_ARCH    processor of the functions: aarch64 (AWS name: arm64) or x86_64
#
# The defaults fit the template's defaults. layers/build.py compares them with the parameters that SAM was given.
# In a container (`sam build --use-container`) it sees those of samconfig.toml only, not SAM's command line; the two
# variables reach it by --container-env-var.

ERASURE_PYTHON ?= python3.13
ERASURE_ARCH ?= aarch64
export ERASURE_ARCH

define build_artefact
@"$(ERASURE_PYTHON)" -c "" >/dev/null 2>&1 || { \
	echo "$(ERASURE_PYTHON) does not run here. The functions' bytecode is compiled by the runtime's own Python:" >&2; \
	echo "install it, or set ERASURE_PYTHON to another one and deploy with PythonRuntime of the same version." >&2; \
	exit 1; }
@"$(ERASURE_PYTHON)" "$(PROJECT)/layers/build.py" $(1) "$(ARTIFACTS_DIR)"
endef

.PHONY: build-SubjectApi build-BackendApi build-StartJobs build-PlanJob build-EraseDynamodb build-EraseS3 \
	build-VerifyTarget build-CloseJob build-RetentionSweep build-SlaWatch build-CoreLayer build-DepsLayer build-ClientLayer \
	requirements

build-SubjectApi:
	$(call build_artefact,function subject_api)

build-BackendApi:
	$(call build_artefact,function backend_api)

build-StartJobs:
	$(call build_artefact,function start_jobs)

build-PlanJob:
	$(call build_artefact,function plan_job)

build-EraseDynamodb:
	$(call build_artefact,function erase_dynamodb)

build-EraseS3:
	$(call build_artefact,function erase_s3)

build-VerifyTarget:
	$(call build_artefact,function verify_target)

build-CloseJob:
	$(call build_artefact,function close_job)

build-RetentionSweep:
	$(call build_artefact,function retention_sweep)

build-SlaWatch:
	$(call build_artefact,function sla_watch)

build-CoreLayer:
	$(call build_artefact,core)

build-DepsLayer:
	$(call build_artefact,deps)

build-ClientLayer:
	$(call build_artefact,client)

# Pins the layers' dependencies anew. No index address ends up in the files.
requirements:
	@for layer in deps client; do (cd layers/$$layer && ../../.venv/bin/pip-compile --quiet --upgrade --generate-hashes \
		--strip-extras --no-header --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options \
		--annotation-style=line --output-file requirements.txt requirements.in); done
