package doctest

import (
	"errors"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCodeCompiles: every piece of Go on a page compiles. It is taken as it stands in
// a file of the examples, or checked as a program, as declarations or as statements,
// together with what a reader has around it: testdata/prelude.go.txt.
func TestCodeCompiles(t *testing.T) {
	t.Parallel()
	examples := exampleFiles(t)
	compiler := newCompiler(t)
	seen := 0
	for page, text := range pages(t) {
		for _, block := range fence.FindAllStringSubmatch(text, -1) {
			if block[1] != "go" {
				continue
			}
			seen++
			if strings.Contains(examples, block[2]) {
				continue
			}
			if err := compiler.check(block[2]); err != nil {
				t.Errorf("%s: %v\n%s", page, err, block[2])
			}
		}
	}
	require.Greater(t, seen, 20)
}

// TestCompilerFindsErrors: it would not matter if pieces compiled because nothing is
// looked at.
func TestCompilerFindsErrors(t *testing.T) {
	t.Parallel()
	c := newCompiler(t)
	for _, piece := range []string{"w.Sage(OrderPayment)", "func f() int { return w }", "m.Lane = 7.5", "worker.Options{Gruop: \"orders\"}"} {
		require.Error(t, c.check(piece), piece)
	}
	require.NoError(t, c.check("receipt, err := w.Send(ctx, m, nil)"))
	require.NoError(t, c.check("type Order struct{ Number string }\n\nvar number = Order{}.Number\n"))
}

// exampleFiles is the text of all files of the examples, which are compiled.
func exampleFiles(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	require.NoError(t, filepath.WalkDir(filepath.Join(root, "examples"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" {
			return err
		}
		text, err := os.ReadFile(path)
		_, code, _ := strings.Cut(string(text), "package main\n") // a page leaves out what stands before,
		all.WriteString(string(text) + "\npackage main\n" + code)
		all.WriteString(strings.ReplaceAll(string(text), "\n\t", "\n")) // and shows the inside of a function without it
		return err
	}))
	return all.String()
}

// compiler type-checks pieces of Go.
type compiler struct {
	fset    *token.FileSet
	prelude string
	imports types.Importer
}

func newCompiler(t *testing.T) *compiler {
	t.Helper()
	prelude, err := os.ReadFile("testdata/prelude.go.txt")
	require.NoError(t, err)
	out, err := goCommand(t, root, nil, "list", "-export", "-deps", "-f", "{{.ImportPath}}\t{{.Export}}", "./worker", "./holdfasttest", "./compensation", "./metrics",
		"gorm.io/driver/postgres", "go.temporal.io/sdk/contrib/envconfig", "github.com/stretchr/testify/require", "go.opentelemetry.io/otel/sdk/trace")
	require.NoError(t, err, out)
	exports := map[string]string{}
	for line := range strings.Lines(out) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), "\t")
		exports[path] = file
	}
	fset := token.NewFileSet()
	open := func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) }
	return &compiler{fset, string(prelude), importer.ForCompiler(fset, "gc", open)}
}

// check returns the first error of a piece: a program, declarations or statements.
func (c *compiler) check(piece string) error {
	if strings.HasPrefix(piece, "package ") {
		file, err := parser.ParseFile(c.fset, "piece.go", piece, 0)
		if err != nil {
			return err
		}
		return c.typed(file)
	}
	before, _, _ := strings.Cut(c.prelude, "\ntype Order ") // package and imports
	file, err := parser.ParseFile(c.fset, "piece.go", before+"\n"+piece, 0)
	if err != nil {
		statements := before + "\nfunc _() {\n" + piece + "\n}\n"
		if file, err = parser.ParseFile(c.fset, "piece.go", statements, 0); err != nil {
			return err
		}
	}
	prelude, err := parser.ParseFile(c.fset, "prelude.go", c.prelude, 0)
	if err != nil {
		return err
	}
	without(prelude, names(file))
	return c.typed(file, prelude)
}

// typed type-checks files. What is not used is no error: a piece goes on elsewhere.
func (c *compiler) typed(files ...*ast.File) error {
	var first error
	config := types.Config{Importer: c.imports, Error: func(err error) {
		var e types.Error
		if errors.As(err, &e) && (e.Soft || strings.HasSuffix(e.Msg, "is not used")) || first != nil {
			return
		}
		first = err
	}}
	_, _ = config.Check("page", c.fset, files, nil) // the errors were told one by one
	return first
}

// names are those that a file declares.
func names(file *ast.File) map[string]bool {
	all := map[string]bool{}
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			all[d.Name.Name] = true
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					all[spec.Name.Name] = true
				case *ast.ValueSpec:
					for _, name := range spec.Names {
						all[name.Name] = true
					}
				}
			}
		}
	}
	return all
}

// without leaves declarations out that others replace. Each declaration of the
// prelude is by itself, or of names that are replaced together.
func without(file *ast.File, replaced map[string]bool) {
	var kept []ast.Decl
	for _, d := range file.Decls {
		if !replaces(replaced, d) {
			kept = append(kept, d)
		}
	}
	file.Decls = kept
}

func replaces(replaced map[string]bool, d ast.Decl) bool {
	for name := range names(&ast.File{Decls: []ast.Decl{d}}) {
		if replaced[name] && name != "_" {
			return true
		}
	}
	return false
}
