package load

import (
	"io"
	"maps"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/holdfastmq/holdfast/console"
)

// few are more things than any page shows, and more than are looked at for the names of
// consumers.
const few, many = 110, 220

// TestPagesAskAsOftenAmongManyThingsAsAmongAFew: each page asks Temporal the same, and as
// often, while many things of each kind wait as while a few do.
func TestPagesAskAsOftenAmongManyThingsAsAmongAFew(t *testing.T) {
	h := newHouse(t, "")
	calls := countCalls(t, valueOf(h.env, "TEMPORAL_ADDRESS"))
	env := append(h.env, "TEMPORAL_ADDRESS="+calls.address)
	c, err := console.New(t.Context(), console.Options{Users: strings.NewReader(h.userList()), Environ: env, Log: io.Discard})
	require.NoError(t, err)
	defer c.Close()
	web := httptest.NewServer(c)
	defer web.Close()
	v := login(t, web.URL)

	asked := map[int]map[string]map[string]int{}
	for _, n := range []int{few, many} {
		for _, what := range kinds {
			h.make(what, n)
		}
		h.waits(n)
		asked[n] = map[string]map[string]int{}
		for _, p := range h.pages(v) {
			// until all of it could be looked at in time, and, in ten times, a busy Temporal was not asked again
			for deadline, again := time.Now().Add(patience), 10; ; again-- {
				calls.since()
				a := v.get(p.path)
				asked[n][p.name] = calls.since()
				require.Contains(t, []int{200, 404}, a.status, "%s: %s", p.path, a.text)
				if !strings.Contains(a.text, "could not be") &&
					(n == few || again <= 0 || moreOften(asked[few][p.name], asked[n][p.name]) == "") {
					break
				}
				require.True(t, time.Now().Before(deadline), "%s: %s", p.path, a.text)
			}
		}
	}
	for name, calls := range asked[few] {
		t.Logf("%s: %v, and %v", name, calls, asked[many][name])
		require.Empty(t, moreOften(calls, asked[many][name]), name)
	}
}

// moreOften names a method that is called more often among many things than among a few. Some calls more
// are no difference: a busy Temporal is asked again.
func moreOften(few, many map[string]int) string {
	for method, n := range many {
		if n > few[method]+few[method]/4+2 {
			return method
		}
	}
	return ""
}

// counter is a Temporal's front that counts what it is asked, by method.
type counter struct {
	address string

	mu sync.Mutex
	n  map[string]int
}

// since are the calls since it was asked last.
func (c *counter) since() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.n
	c.n = map[string]int{}
	return maps.Clone(n)
}

// bytesCodec passes messages on as they are.
type bytesCodec struct{}

func (bytesCodec) Name() string { return "proto" }

func (bytesCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(*v.(*[]byte))}, nil
}

func (bytesCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

// countCalls passes on to the Temporal at an address what it is asked, until the test's end.
func countCalls(t *testing.T, to string) *counter {
	t.Helper()
	conn, err := grpc.NewClient(to, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(bytesCodec{}), grpc.MaxCallRecvMsgSize(64<<20)))
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	c := &counter{address: l.Addr().String(), n: map[string]int{}}
	pass := func(_ any, stream grpc.ServerStream) error {
		method, ok := grpc.MethodFromServerStream(stream)
		if !ok {
			return status.Error(codes.Internal, "no method")
		}
		c.mu.Lock()
		c.n[method[strings.LastIndex(method, "/")+1:]]++
		c.mu.Unlock()
		var in, out []byte
		if err := stream.RecvMsg(&in); err != nil {
			return err
		}
		ctx := stream.Context()
		if md, ok := metadata.FromIncomingContext(ctx); ok {
			ctx = metadata.NewOutgoingContext(ctx, md)
		}
		if err := conn.Invoke(ctx, method, &in, &out); err != nil {
			return err
		}
		return stream.SendMsg(&out)
	}
	server := grpc.NewServer(grpc.ForceServerCodecV2(bytesCodec{}), grpc.UnknownServiceHandler(pass), grpc.MaxRecvMsgSize(64<<20),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}))
	go func() { _ = server.Serve(l) }()
	t.Cleanup(server.Stop)
	return c
}

// valueOf is a variable of an environment.
func valueOf(env []string, name string) (value string) {
	for _, entry := range env {
		if v, ok := strings.CutPrefix(entry, name+"="); ok {
			value = v
		}
	}
	return value
}
