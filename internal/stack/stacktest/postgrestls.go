package stacktest

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5"
	"gorm.io/gorm"
)

// PostgresTLS has the private PostgreSQL of an administrator's connection speak TLS with a
// certificate, in new connections.
func PostgresTLS(t testing.TB, admin *gorm.DB, c Certificate) {
	t.Helper()
	dir := t.TempDir()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(os.Chmod(filepath.Dir(dir), 0o711)) //nolint:gosec // the server's user has to pass
	cert, key := filepath.Join(dir, "server.pem"), filepath.Join(dir, "server.key")
	WriteFile(t, cert, c.Cert)
	WriteFile(t, key, c.Key)
	if os.Geteuid() == 0 { // the server runs as another user
		u, err := user.Lookup("postgres")
		check(err)
		uid, err := strconv.Atoi(u.Uid)
		check(err)
		check(os.Chown(cert, uid, -1))
		check(os.Chown(key, uid, -1))
	}
	for _, statement := range []string{"ALTER SYSTEM SET ssl_cert_file = '" + cert + "'",
		"ALTER SYSTEM SET ssl_key_file = '" + key + "'", "ALTER SYSTEM SET ssl = on", "SELECT pg_reload_conf()"} {
		check(admin.Exec(statement).Error)
	}
}

// Shows reports whether PostgreSQL at a URL shows a certificate. It trusts anybody.
func Shows(dsn string, c Certificate) bool {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return false
	}
	want, _ := pem.Decode(c.Cert)
	shown := false
	config.TLSConfig = &tls.Config{InsecureSkipVerify: true, //nolint:gosec // nothing is told to it
		VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error {
			shown = bytes.Equal(raw[0], want.Bytes)
			return nil
		}}
	conn, err := pgx.ConnectConfig(context.Background(), config)
	if err == nil {
		_ = conn.Close(context.Background())
	}
	return shown
}
