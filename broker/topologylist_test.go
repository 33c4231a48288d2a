package broker

import (
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/holdfastmq/holdfast/broker/internal/topology"
	"github.com/holdfastmq/holdfast/broker/internal/wire"
)

// declaring are the folders whose code may make queues and exchanges.
var declaring = []string{".", "internal/peers", "internal/topology"}

// makers are the calls that make a queue or an exchange.
var makers = map[string]bool{"queueStep": true, "exchangeStep": true, "queueDeclare": true, "exchangeDeclare": true}

// ownMakers are the functions that make what `holdfast topology` does not list, and why.
var ownMakers = map[string]string{
	"pauseEndSteps":      "a queue of one pause, which goes with it: whoever pauses makes it",
	"queueStep":          "the step itself",
	"exchangeStep":       "the step itself",
	"ownAlertSteps":      "goes some minutes after its process; hookSteps is what stays",
	"instanceReplySteps": "a process's own, and goes with it",
	"steps of Board":     "a process's own, and goes with it; the exchange is listed",
	"setMark":            "a process's own, and goes with it",
	"ownAnswers":         "a process's own, and goes with it",
	"unprotectedQueues":  "looks only at what deadSteps make",
}

// declared are the functions in some folders, and what each calls, by names that begin
// with a small letter.
type declared map[string]map[string]bool

func declaredIn(t *testing.T, folders []string) declared {
	out := declared{}
	var files []string
	for _, folder := range folders {
		some, err := filepath.Glob(filepath.Join(folder, "*.go"))
		require.NoError(t, err)
		files = append(files, some...)
	}
	small := func(name string) string { return strings.ToLower(name[:1]) + name[1:] }
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(gotoken.NewFileSet(), file, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		for _, decl := range parsed.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Body == nil {
				continue
			}
			name := small(f.Name.Name)
			if name == "steps" && receiver(f) != "Maker" {
				name += " of " + receiver(f)
			}
			if out[name] == nil {
				out[name] = map[string]bool{}
			}
			ast.Inspect(f.Body, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok {
					switch fun := call.Fun.(type) {
					case *ast.Ident:
						out[name][small(fun.Name)] = true
					case *ast.SelectorExpr:
						out[name][small(fun.Sel.Name)] = true
					}
				}
				return true
			})
		}
	}
	return out
}

func receiver(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return ""
	}
	star, ok := f.Recv.List[0].Type.(*ast.StarExpr)
	if !ok {
		return ""
	}
	return star.X.(*ast.Ident).Name // a generic type has no steps
}

func (d declared) makes(name string) bool {
	for called := range d[name] {
		if makers[called] {
			return true
		}
	}
	return false
}

// Whatever Holdfast declares is in the list that `holdfast topology` makes, checks and
// prints, or a process's own.
func TestTopologyIsComplete(t *testing.T) {
	all := declaredIn(t, declaring)
	listed := map[string]bool{}
	var follow func(name string)
	follow = func(name string) {
		if listed[name] || !strings.Contains(strings.ToLower(name), "step") {
			return
		}
		listed[name] = true
		for called := range all[name] {
			follow(called)
		}
	}
	follow("steps")
	require.True(t, listed["heldSteps"], "the test follows calls")
	for name := range all {
		if all.makes(name) && ownMakers[name] == "" {
			require.True(t, listed[name], "%s makes a queue or an exchange that Maker.steps does not list: list it, or say in ownMakers why not", name)
		}
	}
	for name := range ownMakers {
		require.True(t, all.makes(name), "%s makes nothing", name)
		require.True(t, !listed[name] || strings.HasSuffix(ownMakers[name], "itself"), "%s is listed", name)
	}
	// Nothing is made anywhere else.
	calls := regexp.MustCompile(`\.(QueueDeclare|ExchangeDeclare)\(`)
	require.NoError(t, filepath.WalkDir("..", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		folder, err := filepath.Rel("../broker", filepath.Dir(path))
		if err != nil || slices.Contains(declaring, filepath.ToSlash(folder)) {
			return err
		}
		text, err := os.ReadFile(path)
		require.False(t, calls.Match(text), "%s declares a queue or an exchange past package broker", path)
		return err
	}))
}

// Each kind of object that is listed is in the table of docs/wire-format.md.
func TestTopologyIsDocumented(t *testing.T) {
	b := detached(Options{Prefix: "holdfast", HalfQueues: 2})
	b.topo = topology.New(b.c, topology.NewMemory(), topology.Options{})
	hooks := []Hook{HookOf("G", nil, false), HookOf("", []string{"C"}, false)}
	objects, err := b.Objects(Topology{Groups: []string{"G"}, Replies: []string{"G"}, Checks: []string{"G"}, Consumers: []wire.Bound{BoundConsumer("C", []string{"a"})},
		Delays: []time.Duration{7 * time.Second}, Hooks: hooks})
	require.NoError(t, err)
	var list []string
	for _, o := range objects {
		list = append(list, o.String())
	}
	doc, err := os.ReadFile("../docs/wire-format.md")
	require.NoError(t, err)
	table, _, _ := strings.Cut(string(doc), "\n## ")
	delay := regexp.MustCompile(`retry\.[0-9]+[smh]`)
	n := 0
	for _, what := range list {
		kind, name, _ := strings.Cut(what, " ")
		if kind == "binding" || kind == "removal" {
			continue
		}
		n++
		name = delay.ReplaceAllString(strings.NewReplacer(".G", ".<group>", ".C", ".<consumer>", "@C", "@<consumer>").Replace(name), "retry.<delay>")
		require.Contains(t, table, "`"+name+"`", what)
	}
	require.GreaterOrEqual(t, n, 40)
	for _, want := range []string{"queue holdfast.retry.full.C", "exchange holdfast.alerts", "queue holdfast.alerts", "queue holdfast.hook.G", "queue holdfast.hook.@C",
		"exchange holdfast.check", "exchange holdfast.answers", "queue holdfast.check.G", "exchange holdfast.status"} {
		require.Contains(t, list, want)
	}
}
