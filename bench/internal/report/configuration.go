package report

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/holdfastmq/holdfast/bench/internal/contest"
	"github.com/holdfastmq/holdfast/bench/internal/orders"
	"github.com/holdfastmq/holdfast/bench/internal/servers"
)

// Configuration is what the figures depend on.
type Configuration struct {
	At      time.Time `json:"at"`
	Seconds float64   `json:"seconds"`
	Rounds  int       `json:"rounds"`
	Callers []int     `json:"callers"`
	OS      string    `json:"os"`
	Kernel  string    `json:"kernel,omitempty"`
	Cores   int       `json:"cores"`
	Go      string    `json:"go"`
	// Temporal is the Temporal server: "postgresql", "dev" or "external".
	Temporal string `json:"temporal"`
	// Servers are the versions of the three servers.
	Servers map[string]string `json:"servers"`
	Modules map[string]string `json:"modules"`
	// Private says that the servers were this run's own, on this machine.
	Private  bool              `json:"private_servers"`
	PoolSize int               `json:"database_connections"`
	BodySize int               `json:"body_bytes"`
	About    map[string]string `json:"about"`
}

// Configure says what the figures of a run depend on.
func Configure(ctx context.Context, s *servers.Servers, p contest.Plan,
	temporal servers.TemporalServer) Configuration {
	c := Configuration{At: time.Now().UTC().Truncate(time.Second),
		Seconds: p.Seconds, Rounds: p.Rounds, Callers: p.Callers,
		OS: runtime.GOOS + "/" + runtime.GOARCH, Cores: runtime.NumCPU(), Go: runtime.Version(),
		Temporal: servers.ExternalTemporal, Servers: s.Versions(ctx), Modules: modules(),
		PoolSize: servers.PoolSize, BodySize: orders.BodySize, About: map[string]string{},
		Private: s.Stack.RabbitMQ != nil && s.Stack.PostgreSQL != nil && s.Stack.Temporal != nil}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		c.Kernel = strings.TrimSpace(string(release))
	}
	if s.Stack.Temporal != nil {
		c.Temporal = temporal.Name
		c.Servers["Temporal"] += " (" + temporal.About + ")"
	}
	for _, competitor := range p.Only {
		c.About[competitor.Name] = competitor.About
	}
	return c
}

func modules() map[string]string {
	out := map[string]string{}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return out
	}
	for _, d := range info.Deps {
		if slices.Contains([]string{"go.temporal.io/sdk", "github.com/rabbitmq/amqp091-go",
			"gorm.io/gorm", "github.com/jackc/pgx/v5", "github.com/dbos-inc/dbos-transact-golang"}, d.Path) {
			out[d.Path] = d.Version
		}
	}
	return out
}
