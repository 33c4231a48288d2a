package demo

import (
	"context"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
)

func TestMain(m *testing.M) { os.Exit(stacktest.Main(m)) }

// said is what was printed.
type said struct {
	mu  sync.Mutex
	all strings.Builder
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all.String()
}

// TestDemoServesTheConsole on loopback, with an address that logs in once.
func TestDemoServesTheConsole(t *testing.T) {
	st := stacktest.Shared(t)
	out := &said{}
	s := &stage{out: out, stack: st, dir: t.TempDir(), prefix: stacktest.Prefix(t),
		order: &house{name: "order", url: stacktest.Database(t, st)}}
	db, err := gorm.Open(postgres.Open(s.order.url), &gorm.Config{})
	require.NoError(t, err)
	require.NoError(t, barrier.Migrate(t.Context(), db))
	pool, err := db.DB()
	require.NoError(t, err)
	require.NoError(t, pool.Close())
	built, err := exec.Command("go", "build", "-o", filepath.Join(s.dir, "holdfast"), "../../cmd/holdfast").CombinedOutput()
	require.NoError(t, err, string(built))

	ctx, cancel := context.WithCancel(t.Context())
	wait := s.console(ctx)
	address := regexp.MustCompile(`Log in, once, within 15 minutes, at (http://127\.0\.0\.1:\d+/login/once\?token=\S+)`)
	require.Eventually(t, func() bool { return address.MatchString(out.String()) }, 10*time.Minute, 50*time.Millisecond)
	r, err := http.Get(address.FindStringSubmatch(out.String())[1])
	require.NoError(t, err)
	page, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	require.NoError(t, r.Body.Close())
	require.Equal(t, http.StatusOK, r.StatusCode)
	require.Contains(t, string(page), "/login/once", "a form that logs in")
	cancel()
	wait()
}
