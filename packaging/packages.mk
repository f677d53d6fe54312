# SPDX-License-Identifier: Apache-2.0
# Installation and packages: included by the Makefile.
#
#   make install   into $(DESTDIR)$(PREFIX); configuration goes to $(DESTDIR)$(SYSCONFDIR)
#   make dist      build/dist/prometheus-streams-VERSION.tar.gz, the same bytes every time
#   make rpm       build/rpm/RPMS/; BUNDLED_CNATS=1 links cnats from CNATS_TARBALL statically
#   make deb       build/deb/
#   make deps-packages   what the last two and their tests need

SYSCONFDIR   ?= /etc
BINDIR       ?= $(PREFIX)/bin
MANDIR       ?= $(PREFIX)/share/man
DOCDIR       ?= $(PREFIX)/share/doc/prometheus-streams
UNITDIR      ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR  ?= $(PREFIX)/lib/sysusers.d
LOGROTATEDIR ?= $(SYSCONFDIR)/logrotate.d

DIST         := build/dist/prometheus-streams-$(VERSION).tar.gz
UNIT_FILES   := $(foreach kind,poller receiver,$(B)/units/prometheus-streams-$(kind).service \
                $(B)/units/prometheus-streams-$(kind)@.service)
ROTATE_FILES := $(B)/logrotate/prometheus-streams-poller $(B)/logrotate/prometheus-streams-receiver

# One text for all units: an instance has its own configuration, and nothing else of its own.
$(B)/units/prometheus-streams-%.service: packaging/systemd/prometheus-streams.service.in force
	@mkdir -p $(@D)
	@sed -e 's,@kind@,$(patsubst %@,%,$*),g; s,@bindir@,$(BINDIR),' \
	     -e 's,@instance@,$(if $(findstring @,$*), %i),; s,@name@,$(subst @,-%i,$*),' $< >$@

$(B)/logrotate/prometheus-streams-%: packaging/logrotate/prometheus-streams.in
	@mkdir -p $(@D)
	@sed 's,@kind@,$*,g' $< >$@

# The one page on the format goes by two names, so that packages share no file.
name_page = sed -e 's/prometheus\\-streams\.yaml/prometheus\\-streams\\-'$(1)'.yaml/g' \
                -e "s/PROMETHEUS\\\\-STREAMS\.YAML/PROMETHEUS\\\\-STREAMS\\\\-$$(echo $(1) | tr a-z A-Z).YAML/"

# A configuration that is there is never replaced.
install: all $(UNIT_FILES) $(ROTATE_FILES)
	install -d $(addprefix $(DESTDIR),$(BINDIR) $(MANDIR)/man5 $(MANDIR)/man8 $(DOCDIR)/examples $(UNITDIR) \
	  $(SYSUSERSDIR) $(LOGROTATEDIR))
	install -d -m 0750 $(DESTDIR)$(SYSCONFDIR)/prometheus-streams
	install -m 0755 $(DAEMONS) $(DESTDIR)$(BINDIR)
	install -m 0644 docs/man/*.8 $(DESTDIR)$(MANDIR)/man8
	install -m 0644 README.md LICENSE docs/*.md common/wire.md $(DESTDIR)$(DOCDIR)
	install -D -m 0644 -t $(DESTDIR)$(DOCDIR)/images docs/images/*
	install -D -m 0644 -t $(DESTDIR)$(DOCDIR)/examples/nats etc/nats/*
	install -m 0644 etc/poller.yaml etc/receiver.yaml $(DESTDIR)$(DOCDIR)/examples
	install -m 0644 $(UNIT_FILES) $(DESTDIR)$(UNITDIR)
	install -m 0644 $(ROTATE_FILES) $(DESTDIR)$(LOGROTATEDIR)
	@for kind in poller receiver; do \
	  echo "install prometheus-streams-$$kind.yaml.5, prometheus-streams-$$kind.conf, $$kind.yaml"; \
	  $(call name_page,$$kind) docs/man/prometheus-streams.yaml.5 \
	    >$(DESTDIR)$(MANDIR)/man5/prometheus-streams-$$kind.yaml.5 || exit 1; \
	  install -m 0644 packaging/sysusers/prometheus-streams.conf \
	    $(DESTDIR)$(SYSUSERSDIR)/prometheus-streams-$$kind.conf || exit 1; \
	  config=$(DESTDIR)$(SYSCONFDIR)/prometheus-streams/$$kind.yaml; \
	  test -e $$config || install -m 0640 etc/$$kind.yaml $$config || exit 1; done

dist:
	@packaging/dist.sh $(DIST)

rpm: dist
	@packaging/rpm/build.sh $(DIST) build/rpm $(if $(filter 1,$(BUNDLED_CNATS)),$(or $(CNATS_TARBALL),download))

deb: dist
	@packaging/debian/build.sh $(DIST) build/deb

# Builds packages, looks into them, installs them in a scratch root, and runs what they installed.
test-packages: deps-packages
	+@$(MAKE) --no-print-directory -j$(JOBS) all
	@BUILD=$(B) $(PYTHON) -m pytest -q tests/packages $(PYTEST_ARGS)

.PHONY: install dist rpm deb test-packages
