package cli

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
	"github.com/holdfastmq/holdfast/internal/cli/frame"
	"github.com/holdfastmq/holdfast/internal/operator/actions"
	"github.com/holdfastmq/holdfast/internal/operator/vouch"
	sagaflow "github.com/holdfastmq/holdfast/workflows/sagas"
)

// token has the visitor make a token at the console.
func (v *visitor) token() string {
	v.t.Helper()
	_, page := v.get("/tokens")
	_, form, _ := strings.Cut(page, `action="/tokens"`)
	status, page := v.post("/tokens", url.Values{"for": {"my machine"}, "token": {hiddenOne.FindStringSubmatch(form)[2]}})
	require.Equal(v.t, http.StatusOK, status, page)
	token := regexp.MustCompile(`holdfast_[\w-]{43}`).FindString(page)
	require.NotEmpty(v.t, token, page)
	return token
}

// who is who signed an event of a saga.
func (g *troupe) who(id, what string) string {
	story := g.show(id).Status.Story
	i := slices.IndexFunc(story, func(e sagaflow.Event) bool { return e.What == what })
	require.GreaterOrEqual(g.t, i, 0, story)
	return story[i].Operator
}

// TestLogin: what is done by the command line is the console's act then, under the name of the
// login; without one, it is claimed.
func TestLogin(t *testing.T) {
	t.Parallel()
	g := newTroupe(t)
	database, db := migrated(t)
	bob := visitors(t, append(slices.Clone(g.env), "DATABASE_URL="+database), "bob")[0]
	path := filepath.Join(t.TempDir(), "config", "login.json")
	g.env = append(g.env, "HOLDFAST_LOGIN="+path)
	g.set("do pay", holdfast.ClassPermanent, "no card")
	id, other, third := g.begin("1", `{}`, "parked"), g.begin("2", `{}`, "parked"), g.begin("3", `{}`, "parked")

	r := g.holdfast("pause", id, "--reason", "look", "--operator", "ann")
	require.Zero(t, r.status, r.err)
	require.Equal(t, "ann (claimed)", g.who(id, sagaflow.UpdatePause))

	token := bob.token()
	r = runWith(t, g.env, token+"\n", "login", bob.base+"/")
	require.Zero(t, r.status, r.err)
	require.Contains(t, r.out, "You act as bob (authenticated by file), until ")
	require.NotContains(t, r.out+r.err, token)
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())

	g.set("do pay", "", "")
	r = g.holdfast("retry", id, "--reason", "the card works again")
	require.Zero(t, r.status, r.err)
	require.Contains(t, r.out, "retried")
	require.Equal(t, "bob (authenticated by file)", g.who(id, sagaflow.UpdateRetry))
	g.stands(id, "completed")
	// Several, of which the console says what came of each.
	r = g.holdfast("retry", other, third, id, "--reason", "the card works again", "--yes", "--json")
	require.Equal(t, frame.ExitError, r.status, r.err)
	var all []actions.Outcome
	require.NoError(t, json.Unmarshal([]byte(r.out), &all))
	require.Equal(t, []actions.Verdict{actions.Retried, actions.Retried, actions.Refused},
		[]actions.Verdict{all[0].Outcome, all[1].Outcome, all[2].Outcome})
	require.Equal(t, other, all[0].ID)
	// The end of a wait is the console's, too.
	g.stands(other, "completed") // one that completes just then is left
	r = g.holdfast("compensate", other, "--reason", "no more")
	require.Zero(t, r.status, r.err)
	require.Contains(t, r.out, "compensated")
	// Named, somebody is claimed.
	g.stands(third, "completed")
	r = g.holdfast("compensate", third, "--reason", "no more", "--operator", "eve")
	require.Zero(t, r.status, r.err)

	var rows []struct{ Operator, Action, Outcome string }
	require.NoError(t, db.Raw(`SELECT operator, action, outcome FROM holdfast_audit WHERE target = ? ORDER BY id`, id).
		Scan(&rows).Error)
	require.Len(t, rows, 4)
	require.Equal(t, "bob (authenticated by file)", rows[0].Operator)
	var n int
	require.NoError(t, db.Raw(`SELECT count(*) FROM holdfast_audit WHERE operator LIKE '%claimed%'`).Scan(&n).Error)
	require.Zero(t, n)

	// In another installation the console does nothing.
	order := vouch.Order{Kind: vouch.Saga, ID: id, Run: "another", Act: "compensate", Saga: &sagaflow.Request{Reason: "x"}}
	o := vouch.NewClient(vouch.Login{Console: bob.base, Token: token}).Act(t.Context(), order)
	require.Equal(t, actions.Unsent, o.Outcome, o)
	require.Contains(t, o.Detail, "does not see the run")

	r = runProgram(t, g.env, "logout")
	require.Zero(t, r.status, r.err)
	require.NoFileExists(t, path)
	_, err = vouch.NewClient(vouch.Login{Console: bob.base, Token: token}).Who(t.Context())
	require.ErrorContains(t, err, "does not take your login any more")
	require.Contains(t, runProgram(t, g.env, "logout").out, "Nobody is logged in")
}

// TestLoginForTransactions and for dead letters: the console carries these out as well.
func TestLoginForTransactions(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	tx := s.park("P-9")
	bob := visitors(t, s.env, "bob")[0]
	s.env = append(s.env, "HOLDFAST_LOGIN="+filepath.Join(t.TempDir(), "login.json"))
	r := runWith(t, s.env, bob.token()+"\n", "login", bob.base)
	require.Zero(t, r.status, r.err)
	r = s.holdfast("tx", "rollback", tx, "--reason", "never ran")
	require.Zero(t, r.status, r.err)
	require.Contains(t, r.out, "rolled-back")
	require.Contains(t, s.holdfast("tx", "show", tx).out, "bob (authenticated by file): never ran")
}

// TestALoginThatDoesNotCount says so; nothing is done under another name instead.
func TestALoginThatDoesNotCount(t *testing.T) {
	t.Parallel()
	g := newTroupe(t)
	g.set("do pay", holdfast.ClassPermanent, "no card")
	id := g.begin("1", `{}`, "parked")
	bob := visitors(t, g.env, "bob")[0]
	path := filepath.Join(t.TempDir(), "login.json")
	g.env = append(g.env, "HOLDFAST_LOGIN="+path)
	pause := func() result { return g.holdfast("pause", id, "--reason", "x") }
	good := vouch.Login{Console: bob.base, Token: bob.token(), Operator: "bob", Until: time.Now().Add(time.Hour)}

	wrong := good
	wrong.Token += "x"
	require.NoError(t, vouch.Save(path, wrong))
	r := pause()
	require.NotZero(t, r.status)
	require.Contains(t, r.err, "does not take your login any more")
	require.Contains(t, r.err, "holdfast login")

	away := good
	away.Console = "http://127.0.0.1:1"
	require.NoError(t, vouch.Save(path, away))
	r = pause()
	require.NotZero(t, r.status)
	require.Contains(t, r.err, "the console is not reached")

	require.NoError(t, vouch.Save(path, good))
	require.NoError(t, os.Chmod(path, 0o644))
	r = pause()
	require.NotZero(t, r.status)
	require.Contains(t, r.err, "others may read your login")
	require.NotContains(t, r.err, good.Token)

	require.NoError(t, os.Chmod(path, 0o600))
	require.NoError(t, os.WriteFile(path, []byte("{"), 0o600))
	require.Contains(t, pause().err, "is no login")
	clear := good
	clear.Console = "http://console.example.com"
	require.NoError(t, vouch.Save(path, clear))
	require.Contains(t, pause().err, "is no login", "the token would travel as it is")
	require.Equal(t, "parked", g.show(id).State)

	for _, address := range []string{"http://console.example.com", "console.example.com", "https://a:b@console.example.com",
		"https://console.example.com/x"} {
		r = runWith(t, g.env, "x\n", "login", address)
		require.Equal(t, frame.ExitUsage, r.status, address)
	}
	r = runWith(t, g.env, "\n", "login", bob.base)
	require.Contains(t, r.err, "no token was given")
	r = runWith(t, g.env, "holdfast_x\n", "login", bob.base)
	require.Contains(t, r.err, "does not take your login any more")
}
