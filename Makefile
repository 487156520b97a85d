# Every target is a thin line over a playbook, and prints it: ops run playbooks.
SHELL := /bin/sh
.DEFAULT_GOAL := help
ENV ?= local
export LAB_NAME ?= local
export PATH := $(CURDIR)/.venv/bin:$(PATH)

PLAYBOOK = ansible-playbook -i inventories/$(ENV) $(if $(CHECK),--check --diff) $(if $(LIMIT),--limit $(LIMIT)) playbooks
ATTACH = python playbooks/attach.py --inventory inventories/$(ENV)
# A reason has blanks and quotes: JSON for Ansible, quoted for the shell.
because = -e '{"reason": "$(subst ",\",$(subst ','\'',$(1)))"}'
# Hosts that cannot be reached are left out, not waited for.
skip = $(if $(SKIP),-e skip_unreachable=true)
need = $(if $($(1)),,$(error $(1) is missing. For example: make $@ $(2)))

help: ## Print this help
	@echo 'Tagboat: build, ship, roll back and watch Docker services on your own hosts.'
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo '  ENV=local|staging|production names the environment (now $(ENV)); LAB_NAME the local fleet (now $(LAB_NAME)).'
	@echo '  CHECK=1 shows what a playbook would change, and changes nothing.'

demo: engine ## Create the local fleet, provision it, and play the main job on it
	python tests/fleet/demo.py

lab: engine ## Create the local fleet; LAB_WEB_HOSTS=24 for a larger one
	ansible-playbook -i inventories/local playbooks/lab.yml
lab-down: engine ## Remove every trace of the local fleet
	ansible-playbook -i inventories/local playbooks/lab.yml -e lab_state=absent

site: ops ## Converge an environment; LIMIT=web3 for one host
	$(PLAYBOOK)/site.yml
build: ops ## Build, test and push an image: IMAGE=web [REF=main]
	$(call need,IMAGE,IMAGE=web)$(PLAYBOOK)/build.yml -e image=$(IMAGE) $(if $(REF),-e ref=$(REF))
deploy: ops ## Ship a tag: SERVICE=web TAG=v2 [WATCH=background|off] [SKIP=1] [FORCE=1 [REASON='why']]
	$(call need,SERVICE,SERVICE=web TAG=v2)$(call need,TAG,SERVICE=web TAG=v2)$(PLAYBOOK)/deploy.yml -e service=$(SERVICE) -e tag=$(TAG) $(if $(WATCH),-e watch=$(WATCH)) $(skip) $(if $(FORCE),-e force=true) $(if $(REASON),$(call because,$(REASON)))
rollback: ops ## Go back to the last good release, or to a tag: SERVICE=web [TAG=v1] [SKIP=1]
	$(call need,SERVICE,SERVICE=web)$(PLAYBOOK)/rollback.yml -e service=$(SERVICE) $(if $(TAG),-e tag=$(TAG)) $(skip)
status: ops ## Show what runs where, and its history [SERVICE=web]
	$(PLAYBOOK)/status.yml $(if $(SERVICE),-e service=$(SERVICE))
remove: ops ## Take a service that is no longer in services.yml off its hosts: SERVICE=old
	$(call need,SERVICE,SERVICE=old)$(PLAYBOOK)/remove.yml -e service=$(SERVICE)
prune: ops ## Remove what no release needs from hosts and registry [SERVICE=web] [KEEP=3]
	$(PLAYBOOK)/prune.yml $(if $(SERVICE),-e service=$(SERVICE)) $(if $(KEEP),-e keep=$(KEEP))
logs: ops ## Read a service's log on all its hosts: SERVICE=web [LINES=100] [SINCE=10m] [FOLLOW=1]
	$(call need,SERVICE,SERVICE=web)$(if $(FOLLOW),$(ATTACH) follow $(SERVICE) $(if $(LINES),--lines $(LINES)),$(PLAYBOOK)/logs.yml -e service=$(SERVICE) $(if $(LINES),-e lines=$(LINES)) $(if $(SINCE),-e since=$(SINCE)))
exec: ops ## Run a command in the live container of one host: SERVICE=web CMD='printenv TAG' [HOST=web1]
	$(call need,SERVICE,SERVICE=web CMD='printenv TAG')$(call need,CMD,SERVICE=web CMD='printenv TAG')$(ATTACH) exec $(SERVICE) $(if $(HOST),--host $(HOST)) -- $(CMD)
maintenance: ops ## Answer visitors with a page that says so, or serve again: SERVICE=web STATE=on|off
	$(call need,SERVICE,SERVICE=web STATE=on)$(call need,STATE,SERVICE=web STATE=on)$(PLAYBOOK)/maintenance.yml -e service=$(SERVICE) -e state=$(STATE)
freeze: ops ## Refuse deploys for a while: REASON='release week' HOURS=4 [BY=ann]
	$(call need,REASON,REASON='release week' HOURS=4)$(call need,HOURS,REASON='release week' HOURS=4)$(PLAYBOOK)/freeze.yml $(call because,$(REASON)) -e hours=$(HOURS) $(if $(BY),-e by=$(BY))
thaw: ops ## Allow deploys again
	$(PLAYBOOK)/thaw.yml
ssh: ops ## Open a shell on a host of the local fleet: HOST=web1
	$(call need,HOST,HOST=web1)ssh -F .lab/$(LAB_NAME)/ssh_config $(HOST)

check: dev ## Lint, types and unit tests, in seconds; no engine needed
	sh tests/check.sh
lint: dev ## Only the linters
	sh tests/check.sh lint
test: dev engine ## Everything, from nothing: check, roles, and the whole story on a fleet of its own
	sh tests/all.sh
bench: dev engine ## Measure rollouts beside the same switch by hand, under load [HOSTS=2,8,24] [DELAYS=0,50,100] [RUNS=7]
	python tests/bench/rollouts.py $(if $(HOSTS),--hosts $(HOSTS)) $(if $(DELAYS),--delays $(DELAYS)) $(if $(RUNS),--runs $(RUNS))
bench-bot: dev ## Measure the ops bot: what it takes, how fast it tells, a million events; EVENTS=100000 for fewer
	python tests/bench/bot.py $(if $(EVENTS),--events $(EVENTS))
docs: dev ## Write the roles' README files anew
	python docs/role_readme.py

ops dev:
	@requirements/setup.sh $@
engine:
	@requirements/setup.sh ops engine

.PHONY: help demo lab lab-down site build deploy rollback status remove prune logs exec maintenance freeze thaw ssh check lint test bench bench-bot docs ops dev engine
