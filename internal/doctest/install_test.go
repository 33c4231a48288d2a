package doctest

import (
	"archive/zip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const module = "github.com/holdfastmq/holdfast"

// TestInstall: `go install …/cmd/holdfast@VERSION` works once a version is published.
// The module's zip, as a proxy would serve it, has all that the program is made of,
// and its go.mod nothing that go install refuses.
func TestInstall(t *testing.T) {
	t.Parallel()
	raw, err := goCommand(t, root, nil, "mod", "edit", "-json")
	require.NoError(t, err, raw)
	var mod struct {
		Module           struct{ Path string }
		Replace, Exclude []any
	}
	require.NoError(t, json.Unmarshal([]byte(raw), &mod))
	require.Equal(t, module, mod.Module.Path)
	require.Empty(t, mod.Replace, "go install refuses a main module with replace directives")
	require.Empty(t, mod.Exclude, "and with exclude directives")

	proxy, home := t.TempDir(), t.TempDir()
	version := fmt.Sprintf("v0.0.1-doctest.%x", time.Now().UnixNano()) // nobody else's
	publish(t, filepath.Join(proxy, module, "@v"), version)
	cache, err := goCommand(t, root, nil, "env", "GOMODCACHE")
	require.NoError(t, err)
	t.Cleanup(func() { forget(t, strings.TrimSpace(cache), version) })
	require.NoError(t, os.WriteFile(filepath.Join(home, "go.mod"), []byte("module user\n\ngo 1.26\n\nrequire "+module+" "+version+"\n"), 0o644))
	others, err := goCommand(t, root, nil, "env", "GOPROXY")
	require.NoError(t, err)
	env := []string{"GOPROXY=file://" + proxy + "," + strings.TrimSpace(others), "GOSUMDB=off", "GOFLAGS=-mod=mod -modcacherw", "GOWORK=off"}
	out, err := goCommand(t, home, env, "list", "-deps", module+"/cmd/holdfast")
	require.NoError(t, err, out)
	require.Contains(t, out, module+"/internal/cli")
}

// forget removes what the test put into the module cache.
func forget(t *testing.T, cache, version string) {
	t.Helper()
	require.NoError(t, os.RemoveAll(filepath.Join(cache, module+"@"+version)))
	files, err := filepath.Glob(filepath.Join(cache, "cache", "download", module, "@v", version+".*"))
	require.NoError(t, err)
	for _, file := range files {
		require.NoError(t, os.Remove(file))
	}
}

func goCommand(t *testing.T, dir string, env []string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return string(out) + errs.String(), err
	}
	return string(out), nil
}

// publish makes what a module proxy has of this module.
func publish(t *testing.T, dir, version string) {
	t.Helper()
	require.NoError(t, os.MkdirAll(dir, 0o755))
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	write("list", version+"\n")
	write(version+".info", `{"Version":"`+version+`","Time":"2026-01-01T00:00:00Z"}`)
	write(version+".mod", readFile(t, "go.mod"))
	f, err := os.Create(filepath.Join(dir, version+".zip"))
	require.NoError(t, err)
	z := zip.NewWriter(f)
	for _, file := range moduleFiles(t) {
		w, err := z.Create(module + "@" + version + "/" + file)
		require.NoError(t, err)
		_, err = io.WriteString(w, readFile(t, file))
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	require.NoError(t, f.Close())
}

// moduleFiles are the files of the module: without those of the modules within.
func moduleFiles(t *testing.T) (files []string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", "ls-files", "-co", "--exclude-standard")
	cmd.Dir = root
	out, err := cmd.Output()
	require.NoError(t, err)
	all := strings.Split(strings.TrimSpace(string(out)), "\n")
	var nested []string
	for _, file := range all {
		if dir, found := strings.CutSuffix(file, "/go.mod"); found {
			nested = append(nested, dir+"/")
		}
	}
next:
	for _, file := range all {
		for _, dir := range nested {
			if strings.HasPrefix(file, dir) {
				continue next
			}
		}
		if info, err := os.Lstat(filepath.Join(root, file)); err == nil && info.Mode().IsRegular() { // as in a module's zip
			files = append(files, file)
		}
	}
	return files
}
