package barrier_test

import (
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gorm.io/gorm"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/barrier"
)

// closedPort is an address that nobody listens at.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

// forms are one connection to several hosts, as a URL and as keywords and values.
func forms(t *testing.T, base string, hosts ...string) map[string]string {
	t.Helper()
	u, err := url.Parse(base)
	require.NoError(t, err)
	password, _ := u.User.Password()
	var names, ports []string
	for _, h := range hosts {
		name, port, err := net.SplitHostPort(h)
		require.NoError(t, err)
		names, ports = append(names, name), append(ports, port)
	}
	words := "host=" + strings.Join(names, ",") + " port=" + strings.Join(ports, ",") + " user=" + u.User.Username() +
		" password=" + password + " dbname=" + strings.TrimPrefix(u.Path, "/") + " sslmode=disable target_session_attrs=read-write"
	u.Host = strings.Join(hosts, ",")
	q := u.Query()
	q.Set("target_session_attrs", "read-write")
	u.RawQuery = q.Encode()
	return map[string]string{"URL": u.String(), "keywords": words}
}

// Of several hosts the first may be dead.
func TestFirstHostIsDead(t *testing.T) {
	t.Parallel()
	base := databaseURL(t)
	u, err := url.Parse(base)
	require.NoError(t, err)
	for name, dsn := range forms(t, base, closedPort(t), u.Host) {
		db := open(t, dsn, nil)
		require.NoError(t, barrier.Migrate(t.Context(), db), name)
		require.NoError(t, db.Exec("CREATE TABLE IF NOT EXISTS orders (id text)").Error)
		tx := "t-" + name
		require.NoError(t, barrier.Run(t.Context(), db, local(tx), placing(tx)).Err, name)
		requireRow(t, db, tx, holdfast.Commit)
	}
}

// Where all are dead, the error names them, each once, and no password.
func TestAllHostsAreDead(t *testing.T) {
	t.Parallel()
	one, two := closedPort(t), closedPort(t)
	for name, dsn := range forms(t, "postgres://ann:sesame@h/shop", one, two) {
		_, err := barrier.Clock(t.Context(), open(t, dsn, &gorm.Config{DisableAutomaticPing: true}))
		var away *holdfast.UnavailableError
		require.ErrorAs(t, err, &away, name)
		require.Equal(t, one+","+two+"/shop", away.Where, name)
		require.Contains(t, away.Remedy, "see that it runs", name)
		require.NotContains(t, err.Error(), "sesame", name)
	}
}
