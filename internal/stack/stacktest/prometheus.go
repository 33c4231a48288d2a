package stacktest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// PrometheusProgram is the path of prometheus or promtool. Without it the test is skipped,
// unless HOLDFAST_PROMETHEUS says that there has to be one.
func PrometheusProgram(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("HOLDFAST_PROMETHEUS") == "required" {
		t.Fatalf("HOLDFAST_PROMETHEUS=required, but there is no %s: make prometheus installs it", name)
	}
	t.Skipf("NOT TESTED: rules of Prometheus, since there is no %s: `make prometheus` installs it on Debian", name)
	return ""
}

// Prometheus starts a Prometheus that scrapes the addresses, by job, each second, and
// evaluates these files of rules, until the test ends. It returns its URL.
func Prometheus(t testing.TB, rules []string, targets map[string]string) string {
	t.Helper()
	program := PrometheusProgram(t, "prometheus")
	dir := t.TempDir()
	var config strings.Builder
	config.WriteString("global:\n  scrape_interval: 1s\n  evaluation_interval: 1s\nrule_files:\n")
	for _, file := range rules {
		path, err := filepath.Abs(file)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&config, "  - %q\n", path)
	}
	config.WriteString("scrape_configs:\n")
	for job, address := range targets {
		fmt.Fprintf(&config, "  - job_name: %q\n    static_configs:\n      - targets: [%q]\n", job, address)
	}
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	port := freePort(t)
	cmd := exec.Command(program, "--config.file", file, "--storage.tsdb.path", filepath.Join(dir, "data"),
		"--web.listen-address", fmt.Sprintf("127.0.0.1:%d", port), "--log.level", "warn")
	log := &strings.Builder{}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // it is interrupted
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		select {
		case <-ended:
		case <-time.After(callLimit):
			_ = cmd.Process.Kill()
			<-ended
		}
	})
	url := fmt.Sprintf("http://127.0.0.1:%d", port)
	for until := time.Now().Add(restartLimit); ; time.Sleep(50 * time.Millisecond) {
		select {
		case <-ended:
			t.Fatalf("prometheus ended: %s", log)
		default:
		}
		if _, err := Get(t.Context(), url+"/-/ready"); err == nil {
			return url
		} else if time.Now().After(until) {
			t.Fatalf("prometheus is never ready: %v", err)
		}
	}
}

// Get returns what a URL answers; another status than 200 is an error.
func Get(ctx context.Context, url string) (string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", answer.Status, body)
	}
	return string(body), err
}
