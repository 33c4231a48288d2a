# Installs Debian packages without leaving a service running or enabled that was
# not there before. Arguments: "update" or "keep", then the packages. Run by
# sh -c, as root.
set -eu
export DEBIAN_FRONTEND=noninteractive

refresh=$1
shift
mark='holdfast: temporary, services are not to be started'
policy=/usr/sbin/policy-rc.d
clusters=/etc/postgresql-common/createcluster.d
wants() { find /etc/systemd/system -type l -path '*.wants/*' 2>/dev/null | sort; }
scripts() { ls /etc/init.d 2>/dev/null | sort; }
wants_before=$(wants)
scripts_before=$(scripts)

made_common=no
made_clusters=no
restore() {
	if grep -qs "$mark" "$policy"; then rm -f "$policy"; fi
	rm -f "$clusters/holdfast.conf"
	if [ $made_clusters = yes ]; then rmdir "$clusters" 2>/dev/null || true; fi
	if [ $made_common = yes ]; then rmdir /etc/postgresql-common 2>/dev/null || true; fi
}
trap restore EXIT
trap 'exit 1' HUP INT TERM

# No service is started by the installation; an existing policy stays.
if [ ! -e "$policy" ] || grep -qs "$mark" "$policy"; then
	printf '#!/bin/sh\n# %s\nexit 101\n' "$mark" >"$policy"
	chmod 755 "$policy"
fi
# PostgreSQL's package makes no cluster of its own.
case " $* " in
*" postgresql"*)
	if [ ! -d /etc/postgresql-common ]; then mkdir /etc/postgresql-common; made_common=yes; fi
	if [ ! -d "$clusters" ]; then mkdir "$clusters"; made_clusters=yes; fi
	echo 'create_main_cluster = false' >"$clusters/holdfast.conf"
	;;
esac

apt_get() { apt-get -q -y -o DPkg::Lock::Timeout=300 "$@" </dev/null; }
if [ "$refresh" = update ]; then apt_get update || true; fi
apt_get --no-install-recommends install "$@"

# Whatever the installation enabled is disabled again.
wants | while read -r link; do
	if printf '%s\n' "$wants_before" | grep -qxF "$link"; then continue; fi
	if command -v systemctl >/dev/null; then
		systemctl disable "$(basename "$link")" </dev/null || rm -f "$link"
	else
		rm -f "$link"
	fi
done
scripts | while read -r name; do
	if printf '%s\n' "$scripts_before" | grep -qxF "$name"; then continue; fi
	if command -v update-rc.d >/dev/null; then update-rc.d "$name" disable </dev/null || true; fi
done
