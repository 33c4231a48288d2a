package site

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/holdfastmq/holdfast/console/internal/confirm"
	"github.com/holdfastmq/holdfast/console/internal/desk"
	"github.com/holdfastmq/holdfast/console/internal/login"
	"github.com/holdfastmq/holdfast/internal/operator/deadletters"
	"github.com/holdfastmq/holdfast/internal/operator/text"
	"github.com/holdfastmq/holdfast/internal/operator/transactions"
)

// groups is the page that counts dead letters.
type groups struct {
	By     string
	Bys    []string
	Filter url.Values
	desk.LetterCount
	Fewer bool       // not all groups are shown
	Runs  []knownRun // the latest first
}

// Together lead to what can be done to all that are counted.
func (g groups) Together() []link { return togetherLinks(g.Filter) }

// TogetherOf lead to what can be done to a group of one consumer's; none where the group is
// of those that have nothing to tell it by, since that filter would mean all.
func (g groups) TogetherOf(of deadletters.Group) []link {
	if of.Key == "" {
		return nil
	}
	q := maps.Clone(g.Filter)
	q.Set(filterOf(g.By), of.Key)
	return togetherLinks(q)
}

// letterFilters are what dead letters can be listed and counted by.
var letterFilters = []string{"state", "consumer", "topic", "key", "error", errorIs, "class"}

// errorIs means those of one error, as they are counted: "EOF" is not a part of another one.
const errorIs = "error-is"

// filterOf is the filter that means a group of those that are counted by something.
func filterOf(by string) string {
	if by == "error" {
		return errorIs
	}
	return by
}

// filterText says in words what a filter means.
func filterText(name, value string) string { return strings.ReplaceAll(name, "-", " ") + " " + value }

// kept is what the filter says, but for one name.
func (g groups) kept(without string) url.Values {
	q := url.Values{}
	for _, name := range letterFilters {
		if value := g.Filter.Get(name); value != "" && name != without {
			q.Set(name, value)
		}
	}
	return q
}

// To is the page that lists a group, with what else the filter says.
func (g groups) To(of deadletters.Group) string {
	q := g.kept(filterOf(g.By))
	q.Set(filterOf(g.By), of.Key)
	if g.By == "consumer" {
		q.Set("by", "error")
		return "/dead?" + q.Encode()
	}
	return "/dead/list?" + q.Encode()
}

// ByTo is the page that counts the same by something else.
func (g groups) ByTo(by string) string {
	q := g.kept("")
	q.Set("by", by)
	return "/dead?" + q.Encode()
}

// Of says which are counted; empty: all that are open.
func (g groups) Of() (said []string) {
	for _, name := range letterFilters {
		if value := g.Filter.Get(name); value != "" {
			said = append(said, filterText(name, value))
		}
	}
	return said
}

func letterFilter(q url.Values) (deadletters.Filter, error) {
	f := deadletters.Filter{Consumer: q.Get("consumer"), Topic: q.Get("topic"), Key: q.Get("key"), Class: q.Get("class"),
		ErrorText: q.Get("error"), ErrorIs: q.Get(errorIs), States: statesOf(q.Get("state"))}
	if err := f.Validate(); err != nil {
		return f, text.Usage(err)
	}
	return f, nil
}

func (s *Site) groupsPage(w http.ResponseWriter, r *http.Request, of login.Session) {
	q := r.URL.Query()
	g := groups{By: cmp.Or(q.Get("by"), "error"), Bys: slices.Sorted(maps.Keys(deadletters.Groupings)), Filter: q}
	f, err := letterFilter(q)
	if err == nil && deadletters.Groupings[g.By] == nil {
		err = text.Usagef("dead letters are counted by %s", text.Join(g.Bys))
	}
	if err == nil {
		g.LetterCount, err = s.Desk.LetterGroups(r.Context(), g.By, f)
	}
	if err != nil {
		s.failed(w, r, of, err)
		return
	}
	if len(g.Groups) > listShown {
		g.Groups, g.Fewer = g.Groups[:listShown], true
	}
	for _, v := range s.runs.All() {
		g.Runs = append(g.Runs, knownRunOf(v))
	}
	s.render(w, r, http.StatusOK, of, "groups.html", "Dead letters", g)
}

func (s *Site) lettersPage(w http.ResponseWriter, r *http.Request, of login.Session) {
	q := r.URL.Query()
	f, err := letterFilter(q)
	if err != nil {
		s.failed(w, r, of, err)
		return
	}
	rows, rest, err := s.Desk.Letters(r.Context(), f, listShown)
	if err != nil {
		s.failed(w, r, of, err)
		return
	}
	s.render(w, r, http.StatusOK, of, "letters.html", "Dead letters", letterList{
		list[deadletters.Row]{Filter: q, States: deadletters.States, Rows: rows, Rest: rest}})
}

// letterList is a page of dead letters.
type letterList struct{ list[deadletters.Row] }

// Together lead to what can be done to all of them.
func (l letterList) Together() []link { return togetherLinks(l.Filter) }

// letterView is one dead letter's page.
type letterView struct {
	deadletters.Detail
	Body    body
	Headers []header
	Choices []choice
}

type header struct{ Name, Value string }

// body is a message's body for people to read.
type body struct {
	Text   string
	Pretty bool // it is JSON, and was indented
	Binary bool // Text is its beginning in hexadecimal
	Cut    int  // bytes that are left out
}

func (s *Site) letterPage(w http.ResponseWriter, r *http.Request, of login.Session) {
	d, err := s.Desk.Letter(r.Context(), r.URL.Query().Get("id"))
	if err != nil {
		s.failed(w, r, of, err)
		return
	}
	v := letterView{Detail: d, Body: bodyOf(d.Message), Headers: headersOf(d.Message.Headers)}
	for _, name := range d.Choices() {
		q := url.Values{"kind": {kindLetter}, "id": {d.WorkflowID}, "act": {name}}
		act, _ := deadletters.ActNamed(name)
		v.Choices = append(v.Choices, choice{Title: text.Capital(name), Short: act.Short, Effects: d.Effects(name),
			To: "/do?" + q.Encode()})
	}
	s.render(w, r, http.StatusOK, of, "letter.html", "Dead letter "+d.ID, v)
}

// headersShown is how many headers of a message are shown.
const headersShown = 100

func headersOf(all map[string]string) (shown []header) {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if len(shown) == headersShown {
			return append(shown, header{"…", strconv.Itoa(len(all)-headersShown) + " more"})
		}
		shown = append(shown, header{name, all[name]})
	}
	return shown
}

const (
	// indentedDepth is how deep JSON is that is indented: what is deeper would become
	// very long.
	indentedDepth = 32
	// binaryShown is how many bytes are shown of what is no text.
	binaryShown = 512
)

// bodyOf is a body for people to read: JSON is indented.
func bodyOf(m transactions.MessageDetail) body {
	if len(m.Base64) > 0 {
		shown := m.Base64[:min(len(m.Base64), binaryShown)]
		var hex bytes.Buffer
		for i, b := range shown {
			if i > 0 && i%32 == 0 {
				hex.WriteByte('\n')
			}
			hex.WriteString(strconv.FormatUint(uint64(b)+0x100, 16)[1:])
			hex.WriteByte(' ')
		}
		return body{Text: hex.String(), Binary: true, Cut: m.Cut + len(m.Base64) - len(shown)}
	}
	var pretty bytes.Buffer
	if m.Cut == 0 && depthOf(m.Text) <= indentedDepth && json.Indent(&pretty, []byte(m.Text), "", "  ") == nil {
		return body{Text: pretty.String(), Pretty: true}
	}
	return body{Text: m.Text, Cut: m.Cut}
}

// depthOf is how deep what may be JSON is nested.
func depthOf(s string) (deepest int) {
	depth, quoted, escaped := 0, false, false
	for i := range len(s) {
		switch c := s[i]; {
		case escaped:
			escaped = false
		case quoted:
			escaped, quoted = c == '\\', c != '"'
		case c == '"':
			quoted = true
		case c == '{' || c == '[':
			depth++
			deepest = max(deepest, depth)
		case c == '}' || c == ']':
			depth--
		}
	}
	return deepest
}

// letterFacts are what an operator decides by.
func letterFacts(d deadletters.Detail) confirm.Facts {
	facts := confirm.Facts{{Name: "state", Value: d.State}, {Name: "run", Value: d.RunID}}
	if d.Status != nil {
		facts = append(facts, confirm.Fact{Name: "redeliveries", Value: strconv.Itoa(d.Status.Redeliveries)},
			confirm.Fact{Name: "reason", Value: d.Status.Reason},
			confirm.Fact{Name: "attempts", Value: strconv.Itoa(d.Attempts)})
	}
	return facts
}
