package login

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"
)

// clock is a clock that tests set.
type clock struct{ at atomic.Int64 }

func (c *clock) now() time.Time { return time.Unix(0, c.at.Load()) }

func (c *clock) pass(d time.Duration) { c.at.Add(int64(d)) }

// cheap is the cost of the tests' hashes: the race detector makes the usual ones take seconds.
const cheap = bcrypt.MinCost + 1

func line(t *testing.T, name, role, password string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), cheap)
	require.NoError(t, err)
	return name + ":" + role + ":" + string(hash)
}

func readUsers(lines string) (*Users, error) { return ReadUsersOfCost(strings.NewReader(lines), cheap) }

func TestUsers(t *testing.T) {
	t.Parallel()
	u, err := readUsers("# people\n\n" + line(t, "ann", "operator", "correct horse") + "\n" +
		line(t, "Zoë B", "viewer", "battery staple") + "\n")
	require.NoError(t, err)
	got, ok := u.Check("ann", "correct horse")
	require.True(t, ok)
	require.Equal(t, []any{"ann", Operator}, []any{got.Name, got.Role})
	got, ok = u.Check("Zoë B", "battery staple")
	require.True(t, ok)
	require.Equal(t, Viewer, got.Role)
	for name, password := range map[string]string{"ann": "battery staple", "nobody": "correct horse", "": "", "ANN": "correct horse"} {
		_, ok := u.Check(name, password)
		require.False(t, ok, name)
	}
	c, err := bcrypt.Cost(u.unknown)
	require.NoError(t, err)
	require.Equal(t, cheap, c, "an unknown user takes as long")
	var compared [][]byte
	u.compare = func(hash, _ []byte) error {
		compared = append(compared, hash)
		return nil
	}
	_, ok = u.Check("nobody", "whatever that is compared with has for a password")
	require.False(t, ok)
	_, ok = u.Check("nobody", "")
	require.False(t, ok)
	require.Equal(t, [][]byte{u.unknown, u.unknown}, compared)
}

func TestTooLongAPasswordIsNoPrefixOfIt(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", maxPassword)
	u, err := readUsers(line(t, "ann", "operator", long))
	require.NoError(t, err)
	_, ok := u.Check("ann", long)
	require.True(t, ok)
	_, ok = u.Check("ann", long+"y")
	require.False(t, ok)
}

func TestUsersThatAreRefused(t *testing.T) {
	t.Parallel()
	good := costing(t, line(t, "ann", "operator", "correct horse"), leastCost)
	hash := good[strings.LastIndex(good, ":")+1:]
	other, weak := costing(t, hash, leastCost+1), costing(t, hash, leastCost-1)
	for text, want := range map[string]string{
		"":                             "it has no users",
		"ann:operator":                 "line 1: want name:role:hash",
		"ann:boss:" + hash:             `role "boss"`,
		"Policy:viewer:" + hash:        "Holdfast signs with that name",
		":viewer:" + hash:              "empty",
		"ann:viewer:secret":            "no hash of bcrypt",
		"ann:viewer:" + weak:           "cost is 9, want 10 to 14",
		good + "\n" + good:             "line 2: user \"ann\" is there twice",
		good + "\nbob:viewer:" + other: "line 2: user \"bob\": the hash's cost is 11, and that of the users before is 10",
	} {
		_, err := ReadUsers(strings.NewReader(text))
		require.ErrorContains(t, err, want, text)
		require.NotContains(t, err.Error(), hash)
		require.NotContains(t, err.Error(), "secret")
	}
}

// costing is text with another cost in its hash, which no password fits then.
func costing(t *testing.T, text string, cost int) string {
	t.Helper()
	at := strings.Index(text, "$2a$")
	require.GreaterOrEqual(t, at, 0)
	return fmt.Sprintf("%s$2a$%02d%s", text[:at], cost, text[at+len("$2a$00"):])
}

func TestALineLogsIn(t *testing.T) {
	t.Parallel()
	text, err := lineOfCost("ann", Admin, "correct horse", cheap)
	require.NoError(t, err)
	u, err := readUsers(text)
	require.NoError(t, err)
	got, ok := u.Check("ann", "correct horse")
	require.True(t, ok)
	require.Equal(t, Admin, got.Role)

	text, err = Line("ann", Admin, "correct horse")
	require.NoError(t, err)
	user, err := parseUser(text, leastCost)
	require.NoError(t, err)
	c, err := user.costs(cost)
	require.NoError(t, err)
	require.Equal(t, cost, c)
	for _, password := range []string{"short", strings.Repeat("x", maxPassword+1)} {
		_, err := Line("ann", Admin, password)
		require.ErrorContains(t, err, "want 8 to 72")
	}
	_, err = Line("a:b", Admin, "correct horse")
	require.ErrorContains(t, err, "colon")
}

func TestRoles(t *testing.T) {
	t.Parallel()
	for _, r := range []Role{Viewer, Operator, Admin} {
		parsed, err := ParseRole(r.String())
		require.NoError(t, err)
		require.Equal(t, r, parsed)
		require.False(t, Nobody.May(r))
		require.True(t, Admin.May(r))
	}
	require.False(t, Nobody.May(Nobody))
	require.False(t, Viewer.May(Operator))
	require.False(t, Operator.May(Admin))
}

func TestTriesForOneNameAreLimited(t *testing.T) {
	t.Parallel()
	var c clock
	l := NewLimits(c.now)
	for range nameTries {
		end, wait := l.Begin("a", "ann")
		require.Zero(t, wait)
		end(false)
	}
	_, wait := l.Begin("a", "ann")
	require.Equal(t, nameWindow, wait)
	end, wait := l.Begin("a", "bob")
	require.Zero(t, wait, "others are not kept out")
	end(true)
	end, wait = l.Begin("b", "ann")
	require.Zero(t, wait, "nor is she, from elsewhere")
	end(true)
	c.pass(nameWindow)
	end, wait = l.Begin("a", "ann")
	require.Zero(t, wait)
	end(true)
	for range nameTries {
		end, wait := l.Begin("a", "ann")
		require.Zero(t, wait, "a login begins anew")
		end(false)
	}
}

// TestTriesOfOneSourceAreLimited: and nobody else is kept out by them.
func TestTriesOfOneSourceAreLimited(t *testing.T) {
	t.Parallel()
	var c clock
	l := NewLimits(c.now)
	for i := range 10 * wholeTries {
		end, wait := l.Begin("a", fmt.Sprint("name ", i))
		require.Equal(t, i >= sourceTries, wait > 0)
		if end != nil {
			end(false)
		}
	}
	require.Len(t, l.names, sourceTries, "what was refused is not kept")
	end, wait := l.Begin("b", "ann")
	require.Zero(t, wait)
	end(false)
	c.pass(wholeWindow)
	end, wait = l.Begin("a", "ann")
	require.Zero(t, wait)
	end(false)
}

func TestTriesInWholeAreLimited(t *testing.T) {
	t.Parallel()
	var c clock
	l := NewLimits(c.now)
	for i := range wholeTries {
		end, wait := l.Begin(fmt.Sprint("source ", i), fmt.Sprint("name ", i))
		require.Zero(t, wait)
		end(false)
	}
	_, wait := l.Begin("a", "ann")
	require.Equal(t, wholeWindow, wait)
	c.pass(wholeWindow)
	_, wait = l.Begin("a", "ann")
	require.Zero(t, wait)
	require.LessOrEqual(t, len(l.names), wholeTries+1)
	require.Len(t, l.sources, 1)
}

func TestSource(t *testing.T) {
	t.Parallel()
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, c := range []struct {
		from      string
		forwarded []string
		want      string
	}{
		{"192.0.2.1:99", nil, "192.0.2.1"},
		{"192.0.2.1:99", []string{"198.51.100.7"}, "192.0.2.1"}, // nobody vouches for it
		{"10.1.1.1:99", nil, "10.1.1.1"},
		{"10.1.1.1:99", []string{"198.51.100.7"}, "198.51.100.7"},
		{"10.1.1.1:99", []string{"198.51.100.7, 192.0.2.9"}, "192.0.2.9"}, // what is before it, anybody can write
		{"10.1.1.1:99", []string{"198.51.100.7", "192.0.2.9, 10.2.2.2"}, "192.0.2.9"},
		{"10.1.1.1:99", []string{"198.51.100.7, unknown"}, "10.1.1.1"},
		{"10.1.1.1:99", []string{"198.51.100.7:80"}, "10.1.1.1"},
		{"10.1.1.1:99", []string{"10.2.2.2"}, "10.1.1.1"},
		{"[::ffff:10.1.1.1]:99", []string{"::ffff:192.0.2.9"}, "192.0.2.9"},
		{"[2001:db8:1:2:3::4]:99", nil, "2001:db8:1:2::/64"},
		{"[fd00::1%eth0]:99", []string{"2001:db8:1:2:5::6"}, "2001:db8:1:2::/64"},
		{"@", nil, "@"},
	} {
		r := &http.Request{RemoteAddr: c.from, Header: http.Header{"X-Forwarded-For": c.forwarded}}
		require.Equal(t, c.want, Source(r, trusted), c)
	}
}

func TestBudget(t *testing.T) {
	t.Parallel()
	var c clock
	b := NewBudget(c.now, 2, time.Hour)
	for _, want := range []int{0, 0, 1, 2, 3} {
		over, before := b.Take("ann")
		require.Equal(t, []int{want, 0}, []int{over, before})
	}
	over, _ := b.Take("bob")
	require.Zero(t, over)
	c.pass(time.Hour)
	over, before := b.Take("ann")
	require.Equal(t, []int{0, 3}, []int{over, before})
	for i := range 3 * maxKeys {
		b.Take(fmt.Sprint(i))
	}
	require.LessOrEqual(t, len(b.byKey), maxKeys+1)
	over, _ = b.Take("who comes late shares")
	require.NotZero(t, over)
	c.pass(time.Hour)
	over, _ = b.Take("who comes later does not")
	require.Zero(t, over)
}

func TestSessions(t *testing.T) {
	t.Parallel()
	var c clock
	s := NewSessions(c.now)
	id, began := s.Begin(User{Name: "ann", Role: Operator})
	require.Len(t, id, 43, "256 bits")
	require.NotContains(t, began.Key, id)
	got, ok := s.Find(id, true)
	require.True(t, ok)
	require.Equal(t, []any{"ann", Operator}, []any{got.User, got.Role})
	require.True(t, got.Sent(got.Token()))
	require.False(t, got.Sent(""))
	require.False(t, got.Sent(got.Token()+"x"))
	require.False(t, Session{}.Sent(""))
	_, ok = s.Find(got.Key, true)
	require.False(t, ok, "the key opens nothing")
	_, ok = s.Find("", true)
	require.False(t, ok)
	s.End(got)
	_, ok = s.Find(id, true)
	require.False(t, ok)
}

func TestASessionThatIsIdleEnds(t *testing.T) {
	t.Parallel()
	var c clock
	s := NewSessions(c.now)
	id, _ := s.Begin(User{Name: "ann"})
	c.pass(Idle - 1)
	_, ok := s.Find(id, true)
	require.True(t, ok)
	c.pass(Idle - 1)
	_, ok = s.Find(id, false)
	require.True(t, ok)
	c.pass(1)
	_, ok = s.Find(id, true)
	require.False(t, ok, "a page that refreshes itself does not keep it")
}

func TestASessionEndsHoweverOftenItIsUsed(t *testing.T) {
	t.Parallel()
	var c clock
	s := NewSessions(c.now)
	id, _ := s.Begin(User{Name: "ann"})
	for passed := time.Duration(0); passed < Longest; passed += Idle / 2 {
		_, ok := s.Find(id, true)
		require.True(t, ok, passed)
		c.pass(Idle / 2)
	}
	_, ok := s.Find(id, true)
	require.False(t, ok)
}

func TestSessionsAreBounded(t *testing.T) {
	t.Parallel()
	var c clock
	s := NewSessions(c.now)
	first, _ := s.Begin(User{Name: "ann"})
	for range maxOfOne {
		c.pass(1)
		s.Begin(User{Name: "ann"})
	}
	require.Len(t, s.byKey, maxOfOne)
	_, ok := s.Find(first, true)
	require.False(t, ok, "the oldest has ended")
	for i := range maxSessions {
		s.Begin(User{Name: fmt.Sprint(i)})
	}
	require.Len(t, s.byKey, maxSessions)
}

func TestALoginThatIsGoodOnce(t *testing.T) {
	t.Parallel()
	o := NewOnce("dev", time.Now)
	token := o.Token()
	_, ok := o.Use("")
	require.False(t, ok)
	_, ok = o.Use(token + "x")
	require.False(t, ok)
	u, ok := o.Use(token)
	require.True(t, ok)
	require.Equal(t, []any{"dev", Admin}, []any{u.Name, u.Role})
	_, ok = o.Use(token)
	require.False(t, ok)
	require.Empty(t, o.Token())
	_, ok = o.Use("")
	require.False(t, ok)
	_, ok = (*Once)(nil).Use("")
	require.False(t, ok)

	now := time.Now()
	late := NewOnce("dev", func() time.Time { return now })
	token = late.Token()
	now = now.Add(onceLasts)
	_, ok = late.Use(token)
	require.False(t, ok, "it is good for a while")
	now = now.Add(-time.Second)
	_, ok = late.Use(token)
	require.False(t, ok, "and then never")
}
