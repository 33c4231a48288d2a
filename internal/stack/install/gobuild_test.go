package install

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/internal/stack/progress"
)

func TestGoOutput(t *testing.T) {
	var told []string
	o := &goOutput{most: 3, tell: func(format string, args ...any) { told = append(told, fmt.Sprintf(format, args...)) }}
	for _, piece := range []string{"go: downloading example.com/a v1.0.0\ngo: downlo", "ading example.com/b v2.0.0\r\n", "errors\nexample.com/a/b\n",
		"x\ny\n", "# example.com/a\n", "a.go:1:2: no\nsyntax error\n", "half a line"} {
		n, err := o.Write([]byte(piece))
		require.NoError(t, err)
		require.Equal(t, len(piece), n)
	}
	require.Equal(t, []string{"1 modules downloaded, now example.com/a v1.0.0", "2 modules downloaded, now example.com/b v2.0.0",
		"1 of up to 3 packages compiled, now errors", "2 of up to 3 packages compiled, now example.com/a/b",
		"3 of up to 3 packages compiled, now x", "4 of up to 4 packages compiled, now y"}, told)
	require.Equal(t, "# example.com/a\na.go:1:2: no\nsyntax error\nhalf a line", o.why())
}

// TestBuild: with a Go toolchain that builds something at once, and one that fails.
func TestBuild(t *testing.T) {
	bin := t.TempDir()
	goTool := func(script string) {
		require.NoError(t, os.WriteFile(filepath.Join(bin, "go"), []byte("#!/bin/sh\n"+script), 0o755))
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	var out bytes.Buffer
	i := &Installer{Out: progress.New(&out), cache: t.TempDir()}
	b := GoBuild{Part: "Temporal", What: "the program v1", Duration: "at once", Remedy: "do it by hand", Dir: i.Versioned("program", "v1"),
		Module: "example.com/m", Version: "v1", Programs: []Program{{Package: "cmd/program", Name: "it"}}, Packages: 2}

	goTool("echo example.com/a; echo example.com/b; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18; do echo pkg$i; done; echo 'a.go:1: no'; exit 1")
	err := i.Build(t.Context(), b)
	require.ErrorIs(t, err, errNotInstallable)
	require.ErrorContains(t, err, "do it by hand")
	require.ErrorContains(t, err, "a.go:1: no")
	require.NotContains(t, err.Error(), "pkg18", "what was compiled is no reason")

	goTool(`echo example.com/a; echo example.com/b; [ "$2" = -v ] && : > "$GOBIN/program"`)
	out.Reset()
	require.NoError(t, i.Build(t.Context(), b))
	require.Regexp(t, `(?s)^Temporal     building the program v1 from source, once \(at once\) …\nTemporal     built the program v1 in .* s \(2 packages compiled\), kept in .*program-v1-.*\n$`, out.String())
	require.FileExists(t, filepath.Join(b.Dir, "it"))
	goTool("exit 1")
	require.NoError(t, i.Build(t.Context(), b), "once")
}
