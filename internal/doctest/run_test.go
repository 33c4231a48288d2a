package doctest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/holdfastmq/holdfast/barrier"
	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/stack/stacktest"
	"github.com/holdfastmq/holdfast/keyring"
	"github.com/holdfastmq/holdfast/saga/core"
	"github.com/holdfastmq/holdfast/workflows"
	"github.com/holdfastmq/holdfast/workflows/deadletters"
	"github.com/holdfastmq/holdfast/workflows/sagas"
)

// TestCommands runs every command of the pages, on real servers; those that are not
// run are checked otherwise, and each has its reason.
func TestCommands(t *testing.T) {
	t.Parallel()
	fenced, within := commands(t)
	s := newScene(t)
	r := newReader(t, s.env...)
	used := map[string]bool{}
	var singly, bulk []command
	for _, c := range fenced {
		if x := exempt(c.line); x != nil {
			used[x.why] = true
			x.check(t, s, r, c)
		} else if strings.Contains(c.line, "--yes") || strings.Contains(c.line, "--dry-run") {
			bulk = append(bulk, c)
		} else {
			singly = append(singly, c)
		}
	}
	require.Greater(t, len(singly)+len(bulk), 35)
	s.runAll(r, singly)
	for _, c := range bulk { // they take what others need
		s.letter("order")
		s.saga("order", wantsParking, core.StateParked)
		s.runOne(r, c)
	}
	for _, c := range within {
		if x := exempt(c.line); x != nil && x.alsoWithin {
			used[x.why] = true
			x.check(t, s, r, c)
		}
	}
	for _, x := range exemptions {
		if !used[x.why] {
			t.Errorf("no command is exempt any more because %q: remove it from the list", x.why)
		}
	}
}

// TestKeysStayOutOfTheTree: commands that make or read files of keys do so in folders of the test's.
func TestKeysStayOutOfTheTree(t *testing.T) {
	t.Parallel()
	fenced, _ := commands(t)
	s, files := &scene{t: t}, 0
	for _, c := range fenced {
		if !strings.HasPrefix(c.line, "holdfast keyring ") {
			continue
		}
		for _, word := range strings.Fields(s.prepared(c.line)) {
			if strings.HasSuffix(word, ".json") {
				files++
				require.True(t, filepath.IsAbs(word), "%s: map the example's name in prepared", c)
			}
		}
	}
	require.GreaterOrEqual(t, files, 7)
}

// runAll runs commands that do not get into each other's way, a few at a time.
func (s *scene) runAll(r *reader, all []command) {
	var wg sync.WaitGroup
	work := make(chan command)
	for range 4 {
		wg.Go(func() {
			for c := range work {
				s.runOne(r, c)
			}
		})
	}
	for _, c := range all {
		work <- c
	}
	close(work)
	wg.Wait()
}

// slowly is what commands say on a slow machine.
var slowly = []string{
	"repeating the command waits longer", // they did not see the end of what they asked for
	"Namespace default is not found",     // Temporal's dev server forgets it for a moment
}

// runOne prepares what a command is about, and requires that it succeeds.
func (s *scene) runOne(r *reader, c command) {
	line := s.prepared(c.line)
	out, status := r.types(line)
	again := func() bool {
		return status != 0 && slices.ContainsFunc(slowly, func(said string) bool { return strings.Contains(out, said) })
	}
	for deadline := time.Now().Add(patience); again() && time.Now().Before(deadline); {
		out, status = r.types(line)
	}
	if status != 0 && !(status == 1 && strings.HasPrefix(line, "holdfast doctor") && strings.Contains(out, " problem")) {
		s.t.Errorf("%s\ntyped as %s\nexit status %d: %s", c, line, status, out)
	}
}

// prepared is a line whose example names are those of things that are there, and are
// as the page says.
func (s *scene) prepared(line string) string {
	done := map[string]bool{}
	for _, x := range []struct {
		example string
		in      string // where the name stands for it
		make    func(example string) string
	}{
		{"order-1001", "", func(e string) string { return s.saga(e, "", core.StateCompleted) }},
		{"order-1004", "", func(e string) string { return s.saga(e, wantsApproval, core.StateWaiting) }},
		{"order-1005", "", func(e string) string { return s.saga(e, wantsParking, core.StateParked) }},
		{"order-1006", "saga resume", s.paused},
		{"order-1006", "", func(e string) string { return s.saga(e, wantsApproval, core.StateWaiting) }},
		{"order-1007", "", s.letter},
		{"ID", "saga compensate", s.terminatedSaga},
		{"ID", "saga", func(string) string { return s.saga("order", wantsApproval, core.StateWaiting) }},
		{"ID", "dead restart", s.terminatedLetter},
		{"ID", "dead", func(string) string { return s.letter("order") }},
		{"ID", "tx recheck", s.terminatedTransaction},
		{"ID", "tx", func(string) string { return s.transaction() }},
		{"orders", "--print-grants", s.role},
		{"billing", "consumers pause", s.consumer},
		{"billing", "consumers forget", s.known},
		{"billing", "consumers remove", s.consumer},
		{"billing", "consumers resume", s.pausedConsumer},
		{"NAME", "consumers resume", s.pausedConsumer},
		{"GROUP", "", func(string) string { return "orders" }},
		{"holdfast-keyring.json", "keyring new", func(e string) string { return filepath.Join(s.t.TempDir(), e) }},
		{"holdfast-keyring.json", "keyring", s.keyring},
		{"holdfast-signing.json", "keyring new", func(e string) string { return filepath.Join(s.t.TempDir(), e) }},
		{"holdfast-signing.json", "keyring", s.signing},
	} {
		word := regexp.MustCompile(`\b` + x.example + `\b`)
		if !done[x.example] && word.MatchString(line) && strings.Contains(line, x.in) {
			done[x.example] = true
			line = word.ReplaceAllString(line, x.make(x.example))
		}
	}
	return line
}

// role is a role of the database, for as long as the test runs.
func (s *scene) role(example string) string {
	name := fmt.Sprintf("%s_%x", example, time.Now().UnixNano())
	require.NoError(s.t, s.db.Exec("CREATE ROLE "+name).Error)
	s.t.Cleanup(func() {
		require.NoError(s.t, s.db.Exec("DROP OWNED BY "+name).Error)
		require.NoError(s.t, s.db.Exec("DROP ROLE "+name).Error)
	})
	return name
}

// keyring is a keyring of that name.
func (s *scene) keyring(example string) string {
	path := filepath.Join(s.t.TempDir(), example)
	_, err := keyring.New(path)
	require.NoError(s.t, err)
	return path
}

// signing is a keyring of that name whose keys sign.
func (s *scene) signing(example string) string {
	path := filepath.Join(s.t.TempDir(), example)
	_, err := keyring.NewSigner(path)
	require.NoError(s.t, err)
	return path
}

func (s *scene) paused(example string) string {
	key := s.saga(example, wantsApproval, core.StateWaiting)
	s.signal(key, sagas.UpdatePause)
	return key
}

// consumer makes the queue of a consumer that has no process.
func (s *scene) consumer(string) string {
	name := fmt.Sprintf("billing-%d", s.made.Add(1))
	s.atRabbitMQ(func(b *broker.Broker) error {
		return b.DeclareConsumer(s.t.Context(), name, []string{"bill.due"})
	})
	return name
}

// known is a consumer that the database remembers.
func (s *scene) known(string) string {
	name := fmt.Sprintf("billing-%d", s.made.Add(1))
	require.NoError(s.t, barrier.SaveConsumers(s.t.Context(), s.db, s.prefix,
		[]barrier.KnownConsumer{{Name: name, Topics: []string{"bill.due"}}}))
	return name
}

// pausedConsumer is one that somebody has paused.
func (s *scene) pausedConsumer(example string) string {
	name := s.consumer(example)
	s.atRabbitMQ(func(b *broker.Broker) error {
		_, err := b.PauseConsumer(s.t.Context(), broker.ConsumerPause{Consumer: name, By: "ann", Reason: "test"}, 0)
		return err
	})
	return name
}

func (s *scene) atRabbitMQ(do func(*broker.Broker) error) {
	b, err := broker.Open(s.t.Context(), broker.Options{URL: stacktest.Shared(s.t).AMQPURL(), Prefix: s.prefix})
	require.NoError(s.t, err)
	defer func() { require.NoError(s.t, b.Close(s.t.Context())) }()
	require.NoError(s.t, do(b))
}

func (s *scene) signal(key, name string) {
	id := workflows.SagaID(s.prefix, "orders", "order-payment", key)
	require.NoError(s.t, s.c.SignalWorkflow(s.t.Context(), id, "", name, sagas.Request{Operator: "ann", Reason: "test"}))
}

func (s *scene) terminatedSaga(string) string {
	key := s.saga("order", wantsApproval, core.StateWaiting)
	s.terminate(workflows.SagaID(s.prefix, "orders", "order-payment", key))
	return key
}

func (s *scene) terminatedTransaction(string) string {
	id := s.transaction()
	s.terminate(workflows.WorkflowID(s.prefix, "orders", id))
	s.decided.Store(id, true)
	return id
}

func (s *scene) terminatedLetter(string) string {
	key := s.letter("order")
	s.terminate(s.letterID(key))
	return key
}

// exemption is why commands are not run, and what is looked at instead.
type exemption struct {
	match      *regexp.Regexp
	why        string
	alsoWithin bool // sentences
	check      func(t *testing.T, s *scene, r *reader, c command)
}

func exempt(line string) *exemption {
	i := slices.IndexFunc(exemptions, func(x exemption) bool { return x.match.MatchString(line) })
	if i < 0 {
		return nil
	}
	return &exemptions[i]
}

var exemptions = []exemption{
	{match: regexp.MustCompile(`^make\b`), why: "make would run everything, for minutes: make itself says what it would run", alsoWithin: true, check: makes},
	{match: regexp.MustCompile(`^holdfast (login|logout)\b`), why: "it is about a console and the login of whoever runs this, and has tests of its own", check: parses},
	{match: regexp.MustCompile(`^holdfast (dev|keep|demo|console)\b`), why: "it runs until it is stopped, or for minutes, and has tests of its own", check: parses},
	{match: regexp.MustCompile(`^holdfast [^|]*\| jq`), why: "jq is not among what Holdfast installs", check: withoutJQ},
	{match: regexp.MustCompile(`^docker compose\b`), why: "Docker is not among what Holdfast needs", alsoWithin: true, check: composes},
	{match: regexp.MustCompile(`^export\b`), why: "it is for the commands behind it, with the addresses of docker-compose.yml", check: exports},
	{match: regexp.MustCompile(`^temporal workflow signal\b`), why: "its query has no prefix, and would mean what other tests have", check: signals},
	{match: regexp.MustCompile(`^rabbitmqctl\b`), why: "TestRoles in package broker runs these commands of docs/security.md", check: onPage("docs/security.md")},
	{match: regexp.MustCompile(`^(npm|node)\b`), why: "the test of examples/node-producer runs these programs", check: nodes},
	{match: regexp.MustCompile(`^go install\b`), why: "it asks for a version that is published, see TestInstall, or installs for good", alsoWithin: true, check: installs},
	{match: regexp.MustCompile(`^(mkdir orders|cp /path/to/the/clone|go run \.( |$)|DATABASE_URL=\$DATABASE_URL_(STOCK|ORDERS) )`), why: "it is for a module of the reader's, which TestGetStarted makes", check: onPage("docs/get-started.md")},
	{match: regexp.MustCompile(`^go mod edit\b`), why: "it changes a module of the reader's", check: requires},
	{match: regexp.MustCompile(`^go run \./`), why: "the tests of these programs run them", alsoWithin: true, check: programs},
}

// makes has make say what it would run.
func makes(t *testing.T, _ *scene, r *reader, c command) {
	out, status := r.types(strings.Replace(c.line, "make", "make -n", 1))
	require.Zero(t, status, "%s\n%s", c, out)
	makefile := readFile(t, "Makefile")
	for _, set := range regexp.MustCompile(`\b([A-Z_]+)=`).FindAllStringSubmatch(c.line, -1) {
		require.True(t, strings.Contains(makefile, set[1]), "%s: the Makefile does not know %s", c, set[1])
	}
}

// parses has the program read the command line, and explain the command instead of
// running it.
func parses(t *testing.T, _ *scene, r *reader, c command) {
	line, _, _ := strings.Cut(c.line, " -- ")
	line, _, _ = strings.Cut(line, " >> ")
	out, status := r.types(line + " --help")
	require.Zero(t, status, "%s\n%s", c, out)
	require.Contains(t, out, "Usage:")
}

func withoutJQ(_ *testing.T, s *scene, r *reader, c command) {
	line, _, _ := strings.Cut(c.line, "|")
	s.runOne(r, command{c.page, line})
}

// composes looks for the services in docker-compose.yml.
func composes(t *testing.T, _ *scene, _ *reader, c command) {
	_, services, found := strings.Cut(c.line, " up -d")
	require.True(t, found, c)
	for service := range strings.FieldsSeq(services) {
		require.True(t, strings.Contains(readFile(t, "docker-compose.yml"), "\n  "+service+":\n"), "%s: no service %s", c, service)
	}
}

// exports looks for the variables in the code, and for the ports in
// docker-compose.yml.
func exports(t *testing.T, _ *scene, _ *reader, c command) {
	known := readFile(t, "internal/stack/external.go")
	for _, set := range regexp.MustCompile(`\b([A-Z_]+)='?([^ ']+)`).FindAllStringSubmatch(c.line, -1) {
		require.True(t, strings.Contains(known, `"`+set[1]+`"`), "%s: %s means nothing", c, set[1])
		port := regexp.MustCompile(`127\.0\.0\.1:(\d+)`).FindStringSubmatch(set[2])
		require.NotNil(t, port, "%s: %s has no address", c, set[1])
		require.True(t, strings.Contains(readFile(t, "docker-compose.yml"), port[1]+":"), "%s: nothing listens on %s", c, port[1])
	}
}

// signals looks whether the signal is one, and its input what that takes, and has
// Temporal read the query.
func signals(t *testing.T, s *scene, _ *reader, c command) {
	arg := func(flag string) string {
		found := regexp.MustCompile(`--` + flag + ` (?:'([^']*)'|(\S+))`).FindStringSubmatch(c.line)
		require.NotNil(t, found, "%s: no --%s", c, flag)
		return found[1] + found[2]
	}
	name, in := arg("name"), json.NewDecoder(strings.NewReader(arg("input")))
	in.DisallowUnknownFields()
	query := arg("query")
	if strings.Contains(query, `"DeadLetter"`) {
		require.Contains(t, []string{deadletters.UpdateDiscard, deadletters.UpdateRedeliver, workflows.UpdateCompensate}, name, c)
		require.NoError(t, in.Decode(&deadletters.Request{}), c)
	} else {
		require.Contains(t, []string{sagas.UpdateAnswer, sagas.UpdateRetry, workflows.UpdateCompensate, sagas.UpdateSkip}, name, c)
		require.NoError(t, in.Decode(&sagas.Request{}), c)
	}
	_, err := s.c.CountWorkflow(t.Context(), &workflowservice.CountWorkflowExecutionsRequest{Query: query})
	require.NoError(t, err, c)
}

// onPage requires that a command is on the page whose commands another test runs.
func onPage(page string) func(*testing.T, *scene, *reader, command) {
	return func(t *testing.T, _ *scene, _ *reader, c command) { require.Equal(t, page, c.page, c) }
}

// nodes looks for the programs beside the page.
func nodes(t *testing.T, _ *scene, _ *reader, c command) {
	for _, file := range regexp.MustCompile(`[a-z]+\.mjs`).FindAllString(c.line, -1) {
		readFile(t, filepath.Join(filepath.Dir(c.page), file))
	}
}

// installs requires that a command installs this module's program.
func installs(t *testing.T, _ *scene, _ *reader, c command) {
	path, found := strings.CutPrefix(c.line, "go install "+module+"/")
	if !found {
		path, found = strings.CutPrefix(c.line, "go install ./")
	}
	require.True(t, found, c)
	path, _, _ = strings.Cut(path, "@")
	readFile(t, filepath.Join(path, "main.go"))
}

// requires requires that a command is about this module.
func requires(t *testing.T, _ *scene, _ *reader, c command) {
	require.Regexp(t, "-replace="+regexp.QuoteMeta(module)+"=", c.line, c)
}

// programs looks for the programs that go run names.
func programs(t *testing.T, _ *scene, r *reader, c command) {
	for _, path := range regexp.MustCompile(`go run (\./[a-z/-]+)`).FindAllStringSubmatch(c.line, -1) {
		readFile(t, filepath.Join(path[1], "main.go"))
	}
	if _, line, found := strings.Cut(c.line, "./cmd/holdfast "); found {
		parses(t, nil, r, command{c.page, "holdfast " + line})
	}
}

// readFile reads a file of the repository.
func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	require.NoError(t, err)
	return string(text)
}
