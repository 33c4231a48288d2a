package alerts

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	holdfast "github.com/holdfastmq/holdfast"
)

const (
	secretKey  = "0123456789abcdef0123456789abcdef"
	hookSecret = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=" // secretKey in base64
)

// post is a request as it came.
type post struct {
	id    string // the alert's
	hook  string // webhook-id
	stamp int64
	at    time.Time
}

// posts is a server without a network: it answers requests and collects them.
type posts struct {
	// answer is the status for an alert's nth request, from 1; 0 is a network
	// error, and nil always 204.
	answer func(id string, n int) int
	header http.Header

	mu            sync.Mutex
	all           []post
	running, most int
}

func (p *posts) webhook() Target {
	return Target{URL: "https://user:passw0rd@alerts.example/T00/path-token?key=query-token", Secret: hookSecret,
		Client: &http.Client{Transport: p}}
}

func (p *posts) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	var a holdfast.Alert
	if err := json.Unmarshal(body, &a); err != nil {
		return nil, err
	}
	stamp, err := strconv.ParseInt(req.Header.Get("webhook-timestamp"), 10, 64)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.all = append(p.all, post{a.ID, req.Header.Get("webhook-id"), stamp, time.Now()})
	n := 0
	for _, one := range p.all {
		if one.id == a.ID {
			n++
		}
	}
	p.running++
	p.most = max(p.most, p.running)
	p.mu.Unlock()
	defer func() { p.mu.Lock(); p.running--; p.mu.Unlock() }()
	status := http.StatusNoContent
	if p.answer != nil {
		status = p.answer(a.ID, n)
	}
	switch status {
	case hang:
		<-req.Context().Done()
		return nil, req.Context().Err()
	case 0:
		return nil, errors.New("no route to host")
	}
	return &http.Response{StatusCode: status, Header: p.header, Body: io.NopCloser(strings.NewReader("thanks")),
		Request: req}, nil
}

// hang is a status for no answer at all.
const hang = -1

func (p *posts) get() []post { p.mu.Lock(); defer p.mu.Unlock(); return append([]post{}, p.all...) }

func (p *posts) ids() []string {
	var ids []string
	for _, one := range p.get() {
		ids = append(ids, one.id)
	}
	return ids
}

// requireDiscreet asserts that the log names nothing that is secret.
func requireDiscreet(t *testing.T, b *bell) {
	t.Helper()
	require.NotEmpty(t, b.journal.String())
	for _, secret := range []string{"passw0rd", "query-token", "path-token", hookSecret, secretKey, "because"} {
		require.NotContains(t, b.journal.String(), secret)
	}
}

// The signature is what the specification says, computed here by hand.
func TestWebhookSignature(t *testing.T) {
	for name, secret := range map[string]string{"plain": hookSecret, "with prefix": "whsec_" + hookSecret} {
		t.Run(name, func(t *testing.T) {
			type request struct {
				header http.Header
				body   []byte
				path   string
			}
			got := make(chan request, 1)
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				got <- request{r.Header, body, r.Method + " " + r.URL.String()}
			}))
			closed := make(chan struct{}, 1)
			server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
				if s == http.StateClosed {
					closed <- struct{}{}
				}
			}
			server.Start()
			defer server.Close()
			b := newBell(t, nil, Target{URL: strings.Replace(server.URL, "//", "//ann:s3cret@", 1) + "/alerts?key=1",
				Secret: secret}).start()
			sent := holdfast.Alert{Kind: holdfast.AlertDeadLetter, At: time.Now().UTC().Round(0), Consumer: "billing", ID: "m1",
				Topic: "order.placed",
				Key:   "K-1", WorkflowID: "dead/billing/m1", Class: holdfast.ClassPanic, Reason: `<"é">`, Remedy: "redeliver"}
			b.Alert(sent)
			r := <-got
			b.end()
			select {
			case <-closed: // the client has left no connection
			case <-time.After(5 * time.Minute):
				t.Error("the connection is still open")
			}

			require.Equal(t, "POST /alerts?key=1", r.path)
			require.Equal(t, "application/json", r.header.Get("Content-Type"))
			require.Equal(t, "Basic "+base64.StdEncoding.EncodeToString([]byte("ann:s3cret")), r.header.Get("Authorization"))
			var alert holdfast.Alert
			require.NoError(t, json.Unmarshal(r.body, &alert))
			require.Equal(t, sent, alert)
			id, stamp := r.header.Get("webhook-id"), r.header.Get("webhook-timestamp")
			require.Regexp(t, "^alert_[0-9a-f]{32}$", id)
			mac := hmac.New(sha256.New, []byte(secretKey))
			mac.Write([]byte(id + "." + stamp + "." + string(r.body)))
			require.Equal(t, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)), r.header.Get("webhook-signature"))
			seconds, err := strconv.ParseInt(stamp, 10, 64)
			require.NoError(t, err)
			require.WithinDuration(t, time.Now(), time.Unix(seconds, 0), time.Hour)
			require.Equal(t, map[string]int64{"holdfast.alerts kind=dead-letter": 1}, b.meter.Values())
		})
	}
}

// What may pass is tried again, with growing pauses, under the same ID, signed
// anew.
func TestWebhookRetries(t *testing.T) {
	for name, status := range map[string]int{"500": 500, "503": 503, "429": 429, "network": 0, "no answer": hang} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &posts{answer: func(_ string, n int) int {
					if n <= 6 {
						return status
					}
					return 200
				}}
				b := newBell(t, nil, p.webhook()).start()
				b.ring("m1")
				time.Sleep(webhookGiveUp)
				b.end()
				all := p.get()
				require.Len(t, all, 7)
				for i, one := range all {
					require.Equal(t, all[0].hook, one.hook)
					require.Equal(t, one.at.Unix(), one.stamp)
					if i == 0 {
						continue
					}
					pause := one.at.Sub(all[i-1].at)
					if status == hang {
						pause -= webhookTimeout
					}
					usual := webhookFirstPause << (i - 1)
					require.GreaterOrEqual(t, pause, usual/2)
					require.LessOrEqual(t, pause, usual*3/2)
				}
				require.Equal(t, map[string]int64{"holdfast.alerts kind=parked": 1}, b.meter.Values())
				requireDiscreet(t, b)
			})
		})
	}
}

func TestWebhookRetryAfter(t *testing.T) {
	for asked, want := range map[string]time.Duration{"90": 90 * time.Second, "0": 0, "-5": 0, "soon": 0,
		"99999999": webhookGiveUp, "": 0} {
		require.Equal(t, want, retryAfter(http.Header{"Retry-After": {asked}}), asked)
	}
	synctest.Test(t, func(t *testing.T) {
		p := &posts{header: http.Header{"Retry-After": {"90"}}, answer: func(_ string, n int) int {
			if n == 1 {
				return 429
			}
			return 200
		}}
		b := newBell(t, nil, p.webhook()).start()
		b.ring("m1")
		time.Sleep(2 * time.Minute)
		b.end()
		all := p.get()
		require.Len(t, all, 2)
		require.Equal(t, 90*time.Second, all[1].at.Sub(all[0].at))
	})
}

func TestWebhookGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &posts{answer: func(string, int) int { return 0 }}
		b := newBell(t, nil, p.webhook()).start()
		begun := time.Now()
		b.ring("m1")
		time.Sleep(time.Hour)
		all := p.get()
		last := all[len(all)-1].at.Sub(begun)
		require.Greater(t, last, webhookGiveUp-2*webhookLastPause)
		require.LessOrEqual(t, last, webhookGiveUp)
		require.Greater(t, len(all), 8)
		require.Less(t, len(all), 40)
		require.Equal(t, 1, b.dropped(toWebhook, whyFailed))
		require.Contains(t, b.journal.String(), "no route to host")
		b.end()
		requireDiscreet(t, b)
	})
}

func TestWebhookRefused(t *testing.T) {
	for _, status := range []int{301, 307, 400, 401, 404, 408, 410, 422} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &posts{answer: func(string, int) int { return status }, header: http.Header{"Retry-After": {"1"}}}
				b := newBell(t, nil, p.webhook()).start()
				b.ring("m1")
				time.Sleep(time.Hour)
				b.end()
				require.Len(t, p.get(), 1)
				require.Equal(t, 1, b.dropped(toWebhook, whyRefused))
				requireDiscreet(t, b)
			})
		})
	}
}

// Alerts that the server does not take hold up no others.
func TestWebhookHoldsUpNoOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &posts{answer: func(id string, _ int) int {
			if id == "bad" {
				return 500
			}
			return 200
		}}
		b := newBell(t, nil, p.webhook()).start()
		for range webhookWaiting - 1 {
			b.ring("bad")
		}
		synctest.Wait() // all of them pause
		b.ring(numbered(300)...)
		synctest.Wait()
		require.Subset(t, p.ids(), numbered(300))
		time.Sleep(time.Hour)
		require.Equal(t, webhookWaiting-1, b.dropped(toWebhook, whyFailed))
		b.end()
	})
}

// A server that does not answer gets few requests at once, and in the end each
// alert is tried at least once.
func TestWebhookServerHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &posts{answer: func(string, int) int { return hang }}
		b := newBell(t, nil, p.webhook()).start()
		ids := numbered(webhookWaiting + 20)
		b.ring(ids...)
		synctest.Wait()
		require.Len(t, p.get(), webhookRequests)
		time.Sleep(time.Hour)
		b.end()
		require.Equal(t, webhookRequests, p.most)
		require.Subset(t, p.ids(), ids)
		require.Equal(t, len(ids), b.dropped(toWebhook, whyFailed))
		requireDiscreet(t, b)
	})
}

// An alert that pauses at shutdown is tried once more.
func TestWebhookAtShutdown(t *testing.T) {
	for name, status := range map[string]int{"taken": 200, "refused": 403, "failed": 503, "no answer": hang} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &posts{answer: func(id string, n int) int {
					if n == 1 {
						return 500
					}
					return status
				}}
				b := newBell(t, nil, p.webhook()).start()
				b.ring("m1")
				synctest.Wait()
				require.Len(t, p.get(), 1)
				begun := time.Now()
				b.end()
				require.Len(t, p.get(), 2)
				require.Equal(t, status == 503 || status == hang, b.dropped(toWebhook, whyShutdown) == 1)
				require.Equal(t, status == 403, b.dropped(toWebhook, whyRefused) == 1)
				if status == hang {
					require.Equal(t, alertDrain, time.Since(begun))
				} else {
					require.Zero(t, time.Since(begun))
				}
			})
		})
	}
}

func TestWebhookQueueIsFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &posts{answer: func(string, int) int { return hang }}
		var heard list
		b := newBell(t, heard.hook, p.webhook()).start()
		all := alertQueueSize + webhookWaiting + 10
		for _, id := range numbered(all) {
			b.ring(id)
			synctest.Wait() // those that can be taken are
		}
		// One more is taken from the queue, and waits for its turn.
		require.Equal(t, 9, b.dropped(toWebhook, whyFull))
		require.Len(t, heard.get(), all, "the hook is apart")
		begun := time.Now()
		b.end()
		require.LessOrEqual(t, time.Since(begun), alertDrain)
		require.Equal(t, all-9, b.dropped(toWebhook, whyShutdown))
	})
}

// The client of our own, on a network: a server that is gone, and one that
// redirects.
func TestWebhookOwnClient(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	b := newBell(t, nil, Target{URL: strings.Replace(gone.URL, "//", "//ann:passw0rd@", 1) +
		"/path-token?key=query-token", Secret: hookSecret})
	b.ring("m1")
	b.start().end()
	require.Equal(t, 1, b.dropped(toWebhook, whyShutdown))
	require.Contains(t, b.journal.String(), "connection refused")
	requireDiscreet(t, b)

	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("followed a redirect")
	}))
	defer other.Close()
	server := httptest.NewServer(http.RedirectHandler(other.URL+"/query-token", http.StatusTemporaryRedirect))
	defer server.Close()
	b = newBell(t, nil, Target{URL: server.URL, Secret: hookSecret})
	b.ring("m1")
	b.start().end()
	require.Equal(t, 1, b.dropped(toWebhook, whyRefused))
	require.Contains(t, b.journal.String(), "set the webhook's URL to where it leads")
	requireDiscreet(t, b)

	slow := make(chan struct{})
	server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // only then the server sees that the client is gone
		close(slow)
		<-r.Context().Done()
	}))
	defer server.Close()
	b = newBell(t, nil, Target{URL: server.URL, Secret: hookSecret})
	hard, cancel := context.WithCancel(t.Context())
	go func() {
		<-slow
		cancel()
	}()
	_, err := b.webhook.post(hard, "id", []byte("{}"))
	require.ErrorIs(t, err, context.Canceled)
	b.webhook.idle()
}

func TestWebhookValidate(t *testing.T) {
	require.NoError(t, Target{}.Validate())
	require.NoError(t, Target{Secret: "x"}.Validate(), "nothing is posted")
	for _, key := range []string{hookSecret, "whsec_" + hookSecret} {
		require.NoError(t, Target{URL: "http://localhost:8080/x?y=z", Secret: key}.Validate())
	}
	long := base64.StdEncoding.EncodeToString(make([]byte, 65))
	for name, w := range map[string]Target{
		"no scheme":    {URL: "alerts.example/token99", Secret: hookSecret},
		"other scheme": {URL: "ftp://alerts.example/token99", Secret: hookSecret},
		"no host":      {URL: "https:///token99", Secret: hookSecret},
		"no URL":       {URL: "https://user:token99/@alerts.example", Secret: hookSecret},
		"no secret":    {URL: "https://alerts.example/token99"},
		"no base64":    {URL: "https://alerts.example/token99", Secret: "token99%"},
		"short":        {URL: "https://alerts.example/token99", Secret: "whsec_dG9rZW45OQ=="},
		"long":         {URL: "https://alerts.example/token99", Secret: long},
	} {
		err := w.Validate()
		require.ErrorIs(t, err, holdfast.ErrInvalid, name)
		require.NotContains(t, err.Error(), "token99", name)
		require.NotContains(t, err.Error(), "AAAA", name)
		_, err = New(nil, w, "", nil, nil)
		require.ErrorIs(t, err, holdfast.ErrInvalid, name)
	}
}

// The same alert has the same ID, however often it is raised.
func TestAlertID(t *testing.T) {
	require.Equal(t, alertID([]byte("a")), alertID([]byte("a")))
	require.NotEqual(t, alertID([]byte("a")), alertID([]byte("b")))
}
