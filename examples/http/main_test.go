package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"

	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/worker"
)

func TestMain(m *testing.M) { os.Exit(stacktest.Main(m)) }

const page = "../../docs/http.md"

// patience is how long the test waits for what must come.
const patience = 90 * time.Second

// TestPageShowsTheCode keeps the page's copies the same.
func TestPageShowsTheCode(t *testing.T) {
	code, err := os.ReadFile("shop.go")
	require.NoError(t, err)
	blocks := blocksOf(t, "go")
	require.Len(t, blocks, 4)
	for _, block := range blocks {
		require.Contains(t, string(code), block, "copy the function from shop.go into "+page)
	}
}

// TestRequestsOfThePage makes the requests of the page, in their order.
func TestRequestsOfThePage(t *testing.T) {
	server := httptest.NewServer(running(t).routes())
	t.Cleanup(server.Close)
	exchanges := blocksOf(t, "http")
	require.Greater(t, len(exchanges), 8)
	for _, text := range exchanges {
		request, want, found := strings.Cut(text, "\nHTTP/1.1 ")
		require.True(t, found, text)
		got := exchange(t, server, request, want)
		if strings.HasPrefix(request, "GET ") { // what it asks for may be under way
			got = eventually(t, want, func() string { return exchange(t, server, request, want) })
		}
		require.Equal(t, want, got, request)
	}
}

// eventually asks until the answer is the one that is wanted, and returns the last one.
func eventually(t *testing.T, want string, ask func() string) string {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		if got := ask(); got == want || time.Now().After(deadline) {
			return got
		}
	}
}

// running is a shop whose worker runs until the test ends.
func running(t *testing.T) *shop {
	t.Helper()
	st := stacktest.Shared(t)
	db, err := gorm.Open(postgres.Open(stacktest.Database(t, st)))
	require.NoError(t, err)
	pool, err := db.DB()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, pool.Close()) })
	require.NoError(t, db.AutoMigrate(&Order{}))
	require.NoError(t, barrier.Migrate(t.Context(), db))
	prefix := stacktest.Prefix(t)
	w, err := worker.New(worker.Options{Group: "orders", Temporal: stacktest.TemporalClient(t, st), AMQPURL: st.AMQPURL(), DB: db, Prefix: prefix})
	require.NoError(t, err)
	s := newShop(w)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.w.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-done)
		stacktest.DeleteQueues(t, st.AMQPURL(), prefix+".half.orders", prefix+".replies.orders", prefix+".dead", prefix+".dead.expired", prefix+".dead.oversized")
	})
	select {
	case <-s.w.Ready():
	case err := <-done:
		done <- err
		require.NoError(t, err)
	}
	return s
}

// exchange makes a request of the page, and returns of its answer what the page
// shows: the status, the headers that it names, and the body if it has one.
func exchange(t *testing.T, server *httptest.Server, request, want string) string {
	t.Helper()
	head, body, _ := strings.Cut(request, "\n\n")
	line, headers, _ := strings.Cut(head, "\n")
	method, path, _ := strings.Cut(strings.TrimSpace(line), " ")
	r, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, strings.NewReader(body))
	require.NoError(t, err)
	for header := range strings.Lines(headers) {
		name, value, _ := strings.Cut(strings.TrimSpace(header), ": ")
		r.Header.Set(name, value)
	}
	answer, err := server.Client().Do(r)
	require.NoError(t, err)
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	require.NoError(t, err)

	wantHead, wantBody, _ := strings.Cut(want, "\n\n")
	got := answer.Status
	for _, header := range strings.Split(strings.TrimSpace(wantHead), "\n")[1:] {
		name, _, _ := strings.Cut(header, ": ")
		got += "\n" + name + ": " + answer.Header.Get(name)
	}
	if wantBody == "" {
		return got + "\n"
	}
	return got + "\n\n" + string(text)
}

// blocksOf are the blocks of the page in a language.
func blocksOf(t *testing.T, language string) (all []string) {
	t.Helper()
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	for _, found := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```").FindAllStringSubmatch(string(text), -1) {
		all = append(all, found[1])
	}
	return all
}
