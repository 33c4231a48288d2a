package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"go.temporal.io/api/workflowservice/v1"
)

// results is what is written to the JSON file.
type results struct {
	Configuration configuration `json:"configuration"`
	Bars          []barResult   `json:"bars"`
	Measurements  []measurement `json:"measurements"`
}

// configuration is what the figures depend on.
type configuration struct {
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

func configure(ctx context.Context, s *servers, p plan, temporal temporalServer) configuration {
	c := configuration{At: time.Now().UTC().Truncate(time.Second),
		Seconds: p.seconds, Rounds: p.rounds, Callers: p.callers,
		OS: runtime.GOOS + "/" + runtime.GOARCH, Cores: runtime.NumCPU(), Go: runtime.Version(),
		Temporal: externalTemporal, Servers: s.versions(ctx), Modules: modules(), PoolSize: poolSize, BodySize: bodySize,
		Private: s.stack.RabbitMQ != nil && s.stack.PostgreSQL != nil && s.stack.Temporal != nil, About: map[string]string{}}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		c.Kernel = strings.TrimSpace(string(release))
	}
	if s.stack.Temporal != nil {
		c.Temporal = temporal.name
		c.Servers["Temporal"] += " (" + temporal.about + ")"
	}
	for _, competitor := range p.only {
		c.About[competitor.name] = competitor.about
	}
	return c
}

// versions asks the servers; one that does not say is left out.
func (s *servers) versions(ctx context.Context) map[string]string {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	v := map[string]string{}
	if version, ok := s.admin.Properties["version"].(string); ok {
		v["RabbitMQ"] = version
	}
	var version string
	if err := s.db.WithContext(ctx).Raw("SHOW server_version").Scan(&version).Error; err == nil {
		v["PostgreSQL"] = version
	}
	if info, err := s.temporal.WorkflowService().GetSystemInfo(ctx, &workflowservice.GetSystemInfoRequest{}); err == nil {
		v["Temporal"] = info.GetServerVersion()
	}
	return v
}

func modules() map[string]string {
	out := map[string]string{}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return out
	}
	for _, d := range info.Deps {
		if slices.Contains([]string{"go.temporal.io/sdk", "github.com/rabbitmq/amqp091-go",
			"gorm.io/gorm", "github.com/jackc/pgx/v5"}, d.Path) {
			out[d.Path] = d.Version
		}
	}
	return out
}

// write puts r in place as a whole.
func (r results) write(path string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path+".tmp", append(data, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}
