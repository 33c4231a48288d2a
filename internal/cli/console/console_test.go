package console

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/internal/cli/frame"
)

// TestNetworks: an address of IPv4 within one of IPv6 is that of IPv4, as requests come from it.
func TestNetworks(t *testing.T) {
	all, err := prefixes("--proxy-from", []string{"::ffff:10.1.2.3", "::ffff:10.0.0.0/104", "10.1.2.3/8", "2001:db8::1"})
	require.NoError(t, err)
	var got []string
	for _, p := range all {
		got = append(got, p.String())
	}
	require.Equal(t, []string{"10.1.2.3/32", "10.0.0.0/8", "10.0.0.0/8", "2001:db8::1/128"}, got)
	_, err = prefixes("--proxy-from", []string{"10.0.0.0/8/8"})
	require.ErrorContains(t, err, "want an address")
}

// TestTheEndWaitsForActions: longer than for other requests, and whoever waits for one is told.
func TestTheEndWaitsForActions(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	began, finish := make(chan struct{}), make(chan struct{})
	s := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(began)
		<-finish
	})}
	ctx, cancel := context.WithCancel(t.Context())
	ended, status := make(chan error, 1), make(chan int, 1)
	go func() {
		ended <- run(ctx, l, s, flags{}, time.Nanosecond, func() {
			close(finish) // the action's own end
		})
	}()
	go func() {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+l.Addr().String(), nil)
		if err != nil {
			panic(err)
		}
		got, err := http.DefaultClient.Do(r)
		if err != nil {
			status <- 0
			return
		}
		_ = got.Body.Close()
		status <- got.StatusCode
	}()
	<-began
	cancel()
	require.Equal(t, http.StatusOK, <-status)
	require.NoError(t, <-ended)
}

// TestRunsEndAtOnce: not once the requests are over that are under way.
func TestRunsEndAtOnce(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	began, finish := make(chan struct{}), make(chan struct{})
	s := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(began)
		<-finish
	})}
	ctx, cancel := context.WithCancel(t.Context())
	over, stopped := make(chan error, 1), make(chan struct{})
	go func() { over <- run(ctx, l, s, flags{}, time.Hour, func() { close(stopped) }) }()
	go func() {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+l.Addr().String(), nil)
		if err != nil {
			panic(err)
		}
		if got, err := http.DefaultClient.Do(r); err == nil {
			_ = got.Body.Close()
		}
	}()
	<-began
	cancel()
	select {
	case <-stopped:
	case <-time.After(5 * time.Minute):
		t.Fatal("it waits for the request first")
	}
	close(finish)
	require.NoError(t, <-over)
}

func TestOptions(t *testing.T) {
	a := &frame.App{}
	for _, c := range []struct {
		f        flags
		loopback bool
	}{
		{flags{listen: "127.0.0.1:1"}, true},
		{flags{listen: "localhost:1"}, true},
		{flags{listen: "127.0.0.1:1", secured: true}, false}, // the proxy's name
		{flags{listen: "127.0.0.1:1", cert: "c"}, false},
		{flags{listen: ":1", cert: "c"}, false},
	} {
		o, err := c.f.options(a)
		require.NoError(t, err)
		require.Equal(t, c.loopback, o.Loopback, c.f)
		require.Equal(t, c.f.secured || c.f.cert != "", o.SecureCookies)
	}
	o, err := flags{listen: ":1", proxies: []string{"10.1.2.3/8", "192.0.2.1", "::1"}}.options(a)
	require.NoError(t, err)
	require.Equal(t, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.1/32"),
		netip.MustParsePrefix("::1/128")}, o.TrustedProxies)
	_, err = flags{listen: ":1", proxies: []string{"proxy"}}.options(a)
	require.ErrorContains(t, err, "--trusted-proxy proxy: want an address")
}

func TestAFileThatEverybodyReads(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	for mode, want := range map[os.FileMode]string{0o600: "", 0o640: "", 0o644: "chmod 600 it"} {
		require.NoError(t, os.WriteFile(path, nil, 0o600))
		require.NoError(t, os.Chmod(path, mode))
		file, err := os.Open(path)
		require.NoError(t, err)
		var said bytes.Buffer
		warnOfReaders(&frame.App{Surroundings: frame.Surroundings{Err: &said}}, file)
		require.NoError(t, file.Close())
		if want == "" {
			require.Empty(t, said.String())
			continue
		}
		require.Contains(t, said.String(), want)
	}
}
