package measure

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const root = "../.."

// TestBars: what the page calls met stays met.
func TestBars(t *testing.T) {
	t.Parallel()
	bars, err := Measure(root)
	require.NoError(t, err)
	for _, b := range bars {
		if b.Kept && !b.Met() {
			t.Errorf("%s: %s, at most %s: %s", b.Name, b.Format(b.Value), b.Format(b.AtMost), b.Detail)
		}
		require.False(t, b.Kept && b.AtMost == noBar, "%s: there is no bar to keep", b.Name)
	}
}

// TestTable: the table is written into its place on the page, and nothing else changes.
func TestTable(t *testing.T) {
	t.Parallel()
	all := []Bar{
		{Name: "folder", Before: 103, AtMost: 22, Value: 20, Detail: "saga", Format: whole},
		{Name: "repeated", Before: 0.003, AtMost: 0.005, Value: 0.0062, Format: percent},
		{Name: "names", Before: 400, AtMost: noBar, Value: 390, Format: whole},
	}
	text, err := WithTable("before\n"+tableBegin+"old\n"+tableEnd+"after\n", all)
	require.NoError(t, err)
	require.Equal(t, "before\n"+tableBegin+`| what | before | today | at most | |
|---|--:|--:|--:|---|
| folder (`+"`saga`"+`) | 103 | 20 | 22 | met |
| repeated | 0.3 % | 0.6 % | 0.5 % | **not met** |
| names | 400 | 390 |  |  |
`+tableEnd+"after\n", text)
	_, err = WithTable("no table", all)
	require.ErrorContains(t, err, "the page has no line")
	page, err := os.ReadFile(filepath.Join(root, Page))
	require.NoError(t, err)
	_, err = WithTable(string(page), all)
	require.NoError(t, err)
}

// TestRepeated: six lines that stand twice are repeated, five are not; what says nothing
// by itself does not count.
func TestRepeated(t *testing.T) {
	t.Parallel()
	file := func(body ...string) File {
		return File{"a.go", "package a\n\nimport (\n\t\"fmt\"\n)\n\n" + strings.Join(body, "\n") + "\n"}
	}
	six := []string{"a := 1", "b := 2", "c := 3", "// a remark", "", "d := 4", "}", "e := 5", "f := 6"}
	require.InDelta(t, 1, Repeated([]File{file(six...), file(append([]string{"\t"}, six...)...)}), 1e-9)
	require.Zero(t, Repeated([]File{file(six...), file(six[1:]...)}))
	require.InDelta(t, 12.0/14, Repeated([]File{file(append(six, "one := 1")...), file(append(six, "two := 2")...)}), 1e-9)
	require.Zero(t, Repeated(nil))
}

// TestExported: types, functions, values and methods count; those of unexported types,
// programs and tests do not.
func TestExported(t *testing.T) {
	t.Parallel()
	files := []File{
		{"saga/a.go", `package saga
type A[T any] struct{ Field int }
func (a *A[T]) Do() {}
func (a A[T]) do() {}
type b int
func (b) String() string { return "" }
const One, two = 1, 2
var Three = 3
type I interface{ Four(); five() }
func Six() {}
`},
		{"saga/a_test.go", "package saga\nfunc TestX() {}\n"},
		{"saga/core/c.go", "package core\nfunc Seven() {}\n"},
		{"broker/internal/link/l.go", "package link\nfunc Eight() {}\n"},
		{"cmd/x/main.go", "package main\nfunc Nine() {}\n"},
		{"examples/x/main.go", "package x\nfunc Ten() {}\n"},
	}
	n, err := Exported(files, forUsers)
	require.NoError(t, err)
	require.Equal(t, 7, n) // A, A.Do, One, Three, I, I.Four, Six
	n, err = Exported(files, forSiblings)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	_, err = Exported([]File{{"saga/a.go", "package"}}, forUsers)
	require.Error(t, err)
}

// TestWalks: a section's links to Go files are its steps; the files are counted once.
func TestWalks(t *testing.T) {
	t.Parallel()
	walks := Walks("# Page\n\n[`other`](other.md)\n\n## Express send\n\n" +
		"1. [`worker.Worker.Send`](../worker/send.go) begins.\n" +
		"2. [`deliver`](../worker/express.go), then [`Worker.count`](../worker/send.go).\n\n## Next\n")
	require.Equal(t, []Walk{{"Express send", []Step{
		{"worker.Worker.Send", "worker/send.go"}, {"deliver", "worker/express.go"}, {"Worker.count", "worker/send.go"},
	}}}, walks)
	require.Equal(t, 2, Crossed(walks, "Express send"))
	require.Zero(t, Crossed(walks, "Traced send"))
}

// TestDeclared: a name is found with and without its package, a method with its type.
func TestDeclared(t *testing.T) {
	t.Parallel()
	d, err := Declared([]File{
		{"a/a.go", "package a\ntype T struct{}\nfunc (*T) Do() {}\n"},
		{"b/b.go", "package b\ntype T struct{}\n"},
		{"b/b_test.go", "package b\nfunc Do() {}\n"},
	})
	require.NoError(t, err)
	require.Equal(t, []string{"a/a.go", "b/b.go"}, d["T"])
	require.Equal(t, []string{"b/b.go"}, d["b.T"])
	require.Equal(t, []string{"a/a.go"}, d["a.T.Do"])
	require.Empty(t, d["Do"])
}

// TestLongLines: characters count, not bytes, and tests may have long lines.
func TestLongLines(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("ä", maxLine) + "\n" + strings.Repeat("x", maxLine+1) + "\n"
	n, _, err := longLines(measured{files: []File{{"a.go", text}, {"a_test.go", text}}})
	require.NoError(t, err)
	require.Equal(t, 1.0, n)
}
