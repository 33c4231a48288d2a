// Package imports holds the rules about who may import whom.
package imports

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/holdfastmq/holdfast"

type pkg struct {
	ImportPath string
	Imports    []string
	Deps       []string
	Standard   bool
}

// mayImport says which packages of the module each of its libraries may import:
// imports point one way.
var mayImport = map[string][]string{
	"":                   {"internal/jsonerr"},
	"internal/jsonerr":   {},
	"internal/blame":     {""},
	"internal/addresses": {""},
	"internal/shell":     {},
	"internal/guard":     {""},
	"internal/brief":     {},
	"internal/stepend":   {""},
	"keyring":            {""},
	"internal/seal":      {"", "internal/guard", "saga/core"},
	"barrier":            {"", "internal/blame", "internal/fault", "internal/guard", "internal/stepend", "internal/brief", "internal/grants"},
	"internal/grants":    {},
	"broker": {"", "broker/internal/alerts", "broker/internal/consumer", "broker/internal/deadletters",
		"broker/internal/keeper", "broker/internal/link", "broker/internal/pauses", "broker/internal/peers", "broker/internal/sagacalls",
		"broker/internal/topology", "broker/internal/wire", "internal/addresses", "internal/blame", "internal/fault",
		"internal/guard"},
	"compensation":     {""},
	"saga/core":        {"", "internal/stepend"},
	"saga":             {"", "saga/core", "internal/guard", "internal/jsonerr"},
	"activities":       {"", "internal/fault", "internal/telemetry", "saga/core", "internal/brief"},
	"workflows":        {"", "internal/shell", "internal/brief"},
	"internal/sagarun": {"", "activities", "barrier", "broker", "saga", "saga/core", "workflows", "internal/blame", "internal/fault", "internal/guard", "internal/seal", "internal/stepend", "internal/telemetry", "internal/brief"},
	"worker": {"", "activities", "barrier", "broker", "workflows", "workflows/transactions", "workflows/deadletters", "workflows/sagacohort", "workflows/sagas",
		"compensation", "saga", "saga/core", "internal/fault", "internal/guard", "internal/sagarun", "internal/shell",
		"internal/addresses", "internal/alerts", "internal/consuming", "internal/databases", "internal/firstcall", "internal/intake", "internal/jsonerr", "internal/keep", "internal/lanes", "internal/metrics", "internal/observe",
		"internal/peers", "internal/remember", "internal/sagaexpress", "internal/sagahandle", "internal/sagareplies", "internal/seal", "internal/signals", "internal/steps", "internal/telemetry", "internal/temporalerr", "keyring"},

	// The insides of worker.
	"internal/telemetry":   {""},
	"metrics":              {},
	"internal/metrics":     {"", "activities", "broker"},
	"internal/alerts":      {"", "activities", "broker", "workflows", "internal/guard", "internal/metrics"},
	"internal/observe":     {"", "activities", "broker", "workflows", "internal/metrics", "internal/shell", "internal/telemetry"},
	"internal/temporalerr": {""},
	"internal/firstcall":   {},
	"internal/signals":     {"", "broker", "internal/temporalerr"},
	"internal/consuming":   {"", "barrier", "broker", "internal/guard"},
	"internal/databases":   {"", "barrier", "broker"},
	"internal/peers":       {"", "broker", "workflows"},
	"internal/keep":        {"", "activities", "broker", "workflows", "workflows/transactions", "internal/metrics", "internal/telemetry", "internal/temporalerr"},
	"internal/remember":    {"", "barrier", "broker", "workflows", "workflows/transactions", "internal/signals", "internal/temporalerr"},
	"internal/intake":      {"", "broker", "internal/signals", "internal/temporalerr", "workflows", "workflows/deadletters"},
	"internal/sagahandle": {"", "activities", "barrier", "internal/metrics", "internal/sagaexpress", "internal/sagarun", "internal/shell", "internal/telemetry", "internal/temporalerr",
		"saga", "saga/core", "workflows", "workflows/sagacohort", "workflows/sagas"},
	"internal/sagaexpress": {"", "activities", "barrier", "internal/brief", "internal/fault", "saga/core", "workflows/sagas"},
	"internal/sagareplies": {"", "activities", "broker", "internal/metrics", "internal/sagarun", "internal/signals", "internal/telemetry",
		"saga/core", "workflows", "workflows/sagas"},
	"internal/lanes": {"", "activities", "barrier", "workflows", "workflows/transactions", "internal/fault", "internal/seal", "internal/temporalerr"},
	"internal/steps": {"", "activities", "barrier", "broker", "workflows/deadletters", "internal/guard", "internal/seal"},

	"broker/internal/wire":     {"", "internal/brief", "internal/stepend"},
	"broker/internal/consumer": {"", "broker/internal/link", "broker/internal/wire", "internal/blame", "internal/fault", "internal/guard"},
	"broker/internal/keeper":   {"", "broker/internal/link", "broker/internal/wire", "internal/fault", "internal/guard"},
	"broker/internal/link":     {"", "broker/internal/wire", "internal/addresses", "internal/fault", "internal/guard"},
	"broker/internal/peers": {"", "broker/internal/link", "broker/internal/topology", "broker/internal/wire",
		"internal/guard"},
	"broker/internal/pauses": {"", "broker/internal/link", "broker/internal/topology", "broker/internal/wire"},
	"broker/internal/alerts": {"", "broker/internal/link", "broker/internal/topology", "broker/internal/wire"},
	"broker/internal/deadletters": {"", "broker/internal/consumer", "broker/internal/link", "broker/internal/topology",
		"broker/internal/wire", "internal/fault"},
	"broker/internal/sagacalls": {"", "broker/internal/link", "broker/internal/topology", "broker/internal/wire",
		"internal/fault"},
	"broker/internal/topology": {"", "broker/internal/consumer", "broker/internal/link", "broker/internal/wire"},

	"workflows/transactions": {"", "activities", "workflows", "internal/brief"},
	"workflows/deadletters":  {"", "activities", "workflows", "internal/shell"},
	"workflows/sagas":        {"", "activities", "workflows", "saga/core", "internal/stepend"},
	"workflows/sagacohort":   {"", "activities", "workflows", "saga/core"},

	"holdfasttest": {"", "activities", "barrier", "broker", "workflows", "workflows/transactions", "workflows/deadletters", "workflows/sagas",
		"worker", "saga", "saga/core", "internal/consuming", "internal/fakebroker", "internal/lanes", "internal/sagarun", "internal/steps"},
	"internal/fakebroker":  {"", "broker", "internal/guard", "internal/stepend"},
	"internal/brokertest":  {"", "broker"},
	"internal/barriertest": {"", "barrier"},

	"internal/operator/text":   {"", "internal/shell"},
	"internal/operator/server": {"internal/operator/text", "internal/seal", "workflows"},
	"internal/operator/history": {"", "activities", "internal/operator/server", "internal/operator/text",
		"workflows", "workflows/transactions", "workflows/deadletters", "workflows/sagas"},
	"internal/operator/actions":   {"internal/operator/server", "internal/operator/text", "workflows"},
	"internal/operator/processes": {"", "barrier", "broker", "internal/addresses", "internal/operator/text"},
	"internal/operator/reach": {"", "barrier", "broker", "internal/operator/processes", "internal/operator/server", "internal/operator/text",
		"internal/seal", "keyring"},
	"internal/operator/transactions": nouns("barrier", "internal/seal"),
	"internal/operator/deadletters":  nouns("internal/operator/transactions", "internal/seal"),
	"internal/operator/sagas":        nouns("workflows/sagacohort", "barrier", "broker", "internal/operator/processes", "internal/seal", "saga/core"),
	"internal/operator/waits": nouns("barrier", "broker", "internal/operator/deadletters", "internal/operator/processes",
		"internal/operator/sagas", "internal/operator/transactions", "saga/core"),
	"internal/operator/topology":  {"", "broker", "internal/operator/processes", "internal/operator/text"},
	"internal/operator/doctor":    nouns("barrier", "broker", "internal/grants", "internal/operator/deadletters", "internal/operator/processes", "internal/operator/sagas", "internal/operator/transactions", "internal/operator/waits", "saga/core", "worker"),
	"console":                     {"console/internal/audit", "console/internal/desk", "console/internal/login", "console/internal/oidc", "console/internal/site", "internal/operator/reach", "internal/operator/server", "internal/operator/text"},
	"internal/operator/consumers": {"", "broker", "internal/operator/processes", "internal/operator/reach", "internal/operator/text", "internal/operator/waits", "internal/shell"},
	"console/internal/batch":      {"internal/guard"},
	"console/internal/confirm":    {},
	"console/internal/glance":     {"internal/guard"},
	"console/internal/live":       {"internal/guard"},
	"console/internal/login":      {"internal/operator/actions", "workflows"},
	"console/internal/oidc":       {"console/internal/login"},
	"internal/operator/vouch":     {"internal/operator/actions", "internal/operator/text", "workflows/deadletters", "workflows/sagas", "workflows/transactions"},
	"console/internal/audit":      {"internal/operator/text"},
	"console/internal/desk":       {"", "internal/operator/actions", "internal/operator/deadletters", "internal/operator/doctor", "internal/operator/reach", "internal/operator/sagas", "internal/operator/server", "internal/operator/transactions", "workflows", "workflows/deadletters", "workflows/sagas", "internal/operator/consumers", "internal/guard", "internal/operator/text", "internal/operator/vouch", "workflows/transactions"},
	"console/internal/site":       {"", "console/internal/audit", "console/internal/confirm", "console/internal/desk", "console/internal/glance", "console/internal/live", "console/internal/login", "console/internal/oidc", "internal/operator/vouch", "internal/guard", "internal/operator/actions", "internal/operator/deadletters", "internal/operator/doctor", "internal/operator/sagas", "internal/operator/server", "internal/operator/text", "internal/operator/transactions", "internal/brief", "saga/core", "workflows", "workflows/deadletters", "workflows/sagas", "console/internal/batch", "internal/operator/consumers", "internal/operator/processes", "workflows/transactions"},
}

// nouns are what the rooms of internal/operator may import that know what a transaction, a
// dead letter or a saga is, and more of this kind.
func nouns(more ...string) []string {
	return append([]string{"", "activities", "workflows", "workflows/transactions", "workflows/deadletters", "workflows/sagas", "internal/shell", "internal/operator/actions", "internal/operator/history",
		"internal/operator/reach", "internal/operator/server", "internal/operator/text"}, more...)
}

// forTests are the packages that only tests may import, and what only they may
// bring along.
var forTests = []string{module + "/holdfasttest", module + "/internal/fakebroker", module + "/internal/brokertest",
	module + "/internal/barriertest", module + "/internal/exampletest", module + "/internal/golden", module + "/console/internal/oidc/oidctest", module + "/internal/metrics/metricstest",
	"github.com/glebarez/", "modernc.org/"}

func TestImportsPointOneWay(t *testing.T) {
	for path, p := range list(t) {
		allowed, ruled := mayImport[path]
		if !ruled {
			continue
		}
		for _, imported := range p.Imports {
			if name, ours := local(imported); ours && !slices.Contains(allowed, name) {
				t.Errorf("%s imports %s: it may import %q of this module", p.ImportPath, imported, allowed)
			}
		}
	}
}

// TestVocabularyIsStandardLibraryOnly keeps the root package free of dependencies, and what
// it imports of this module, too.
func TestVocabularyIsStandardLibraryOnly(t *testing.T) {
	all := list(t)
	for _, dep := range all[""].Deps {
		if dep == module+"/internal/jsonerr" { // its own are among all
			continue
		}
		require.False(t, strings.Contains(strings.Split(dep, "/")[0], "."), "the root package depends on %s", dep)
	}
}

// TestWorkflowsAreDeterministicByConstruction keeps databases and brokers out of
// whatever a workflow can reach.
func TestWorkflowsAreDeterministicByConstruction(t *testing.T) {
	all := list(t)
	for _, path := range []string{"workflows", "workflows/transactions", "workflows/deadletters", "workflows/sagas", "compensation", "activities"} {
		p, there := all[path]
		require.True(t, there, path)
		for _, dep := range p.Deps {
			require.NotEqual(t, "database/sql", dep, path)
			for _, banned := range []string{"gorm.io/", "github.com/rabbitmq/amqp091-go", "github.com/jackc/"} {
				require.False(t, strings.HasPrefix(dep, banned), "%s depends on %s", path, dep)
			}
		}
	}
}

// TestProductionDoesNotImportTheTestingKit keeps the testing kit, and its database,
// out of libraries and programs.
func TestProductionDoesNotImportTheTestingKit(t *testing.T) {
	for path, p := range list(t) {
		if slices.ContainsFunc(forTests, func(kit string) bool { return kit == module+"/"+path }) {
			continue
		}
		for _, dep := range p.Deps {
			for _, kit := range forTests {
				require.False(t, strings.HasPrefix(dep, kit), "%s depends on %s", path, dep)
			}
		}
	}
}

// TestLibraryIsNoProgram keeps the command line, and what it brings along, out of the programs
// of users: their go.mod names what they import, and nothing else of this module's.
func TestLibraryIsNoProgram(t *testing.T) {
	all := list(t)
	for _, path := range []string{"", "worker", "saga", "barrier", "compensation", "broker", "activities", "workflows", "holdfasttest"} {
		p, there := all[path]
		require.True(t, there, path)
		for _, dep := range p.Deps {
			for _, banned := range []string{module + "/internal/cli", module + "/console", "github.com/spf13/", "github.com/schollz/",
				"github.com/coreos/go-oidc", "github.com/go-jose/", "golang.org/x/oauth2"} {
				require.False(t, strings.HasPrefix(dep, banned), "%s depends on %s", path, dep)
			}
		}
	}
}

// TestTelemetryIsTheAPI: who sends and consumes builds OpenTelemetry's API alone. SDK and
// exporters are the program's choice, which package metrics is one of.
func TestTelemetryIsTheAPI(t *testing.T) {
	all := list(t)
	require.Contains(t, all["worker"].Deps, "go.opentelemetry.io/otel/trace")
	for _, path := range []string{"worker", "holdfasttest", "console", "saga", "compensation"} {
		for _, dep := range all[path].Deps {
			for _, banned := range []string{"go.opentelemetry.io/otel/sdk", "go.opentelemetry.io/otel/exporters", "github.com/prometheus/"} {
				require.False(t, strings.HasPrefix(dep, banned), "%s depends on %s", path, dep)
			}
		}
	}
}

// TestOperatorKnowsNoScreen keeps the command tree out of what an operator does: the
// console may stand on it as well.
func TestOperatorKnowsNoScreen(t *testing.T) {
	for path, p := range list(t) {
		if !strings.HasPrefix(path, "internal/operator/") {
			continue
		}
		for _, dep := range p.Deps {
			for _, banned := range []string{module + "/internal/cli", "github.com/spf13/"} {
				require.False(t, strings.HasPrefix(dep, banned), "%s depends on %s", path, dep)
			}
		}
	}
}

// TestProductionDoesNotImportItsTools keeps the development stack and the demo
// out of what users import.
func TestProductionDoesNotImportItsTools(t *testing.T) {
	all := list(t)
	for path := range mayImport {
		for _, dep := range all[path].Deps {
			for _, banned := range []string{module + "/internal/stack", module + "/internal/demo", module + "/cmd"} {
				require.False(t, strings.HasPrefix(dep, banned), "%s depends on %s", path, dep)
			}
		}
	}
}

func local(path string) (name string, ours bool) {
	if path == module {
		return "", true
	}
	return strings.CutPrefix(path, module+"/")
}

// list returns the module's packages by their path inside it.
func list(t *testing.T) map[string]pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports,Deps,Standard", module+"/...").Output()
	require.NoError(t, err)
	all := map[string]pkg{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		require.NoError(t, err)
		name, _ := local(p.ImportPath)
		all[name] = p
	}
}
