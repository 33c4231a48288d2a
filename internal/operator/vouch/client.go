package vouch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"

	"github.com/holdfastmq/holdfast/internal/operator/actions"
	"github.com/holdfastmq/holdfast/internal/operator/text"
)

// Client reaches a console with somebody's token.
type Client struct {
	Login
	http *http.Client
}

// NewClient returns the client of a login.
func NewClient(l Login) *Client {
	return &Client{l, &http.Client{
		// A token goes nowhere but to the console itself.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// CheckConsole says what is wrong with a console's address: a token does not travel in clear.
func CheckConsole(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
		u.Path != "" && u.Path != "/" {
		return text.Usagef("the console's address %q: want such as https://console.example.com", address)
	}
	ip := net.ParseIP(u.Hostname())
	if u.Scheme == "https" || u.Scheme == "http" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()) {
		return nil
	}
	return text.Usagef("the console's address %s: want https; http is for loopback only, or the token would travel as "+
		"it is", address)
}

// errEnded says that the console does not take the token.
var errEnded = errors.New("the console does not take your login any more")

// Who asks whose token it is.
func (c *Client) Who(ctx context.Context) (Whose, error) {
	var w Whose
	_, err := c.call(ctx, http.MethodGet, WhoPath, nil, &w)
	return w, c.remedied(err)
}

// End has the console revoke the token.
func (c *Client) End(ctx context.Context) error {
	_, err := c.call(ctx, http.MethodPost, EndPath, struct{}{}, nil)
	if errors.Is(err, errEnded) {
		return nil
	}
	return c.remedied(err)
}

// remedied says what to do about an error.
func (c *Client) remedied(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, errEnded) {
		return text.WithRemedy(fmt.Errorf("%s: %w", c.Console, errEnded), "%s", c.again())
	}
	var no *refusedError
	if errors.As(err, &no) {
		return text.WithRemedy(fmt.Errorf("%s: %s", c.Console, no.Error()), "%s", no.Remedy)
	}
	return text.WithRemedy(fmt.Errorf("%s: %w", c.Console, err), "see that the console runs there, and, for a private "+
		"certificate authority, set SSL_CERT_FILE")
}

func (c *Client) again() string {
	return "log in again with `holdfast login`; `holdfast logout` has what you do recorded as claimed"
}

// Act has the console do it. sent says that it may have been.
func (c *Client) Act(ctx context.Context, o Order) actions.Outcome {
	var a Answer
	sent, err := c.call(ctx, http.MethodPost, ActPath, o, &a)
	var no *refusedError
	switch {
	case err == nil:
		a.Outcome.Group = a.Group
		return a.Outcome
	case errors.Is(err, errEnded):
		return actions.Outcome{Outcome: actions.Unsent, Detail: errEnded.Error(), Remedy: c.again()}
	case errors.As(err, &no) && no.again:
		return actions.Outcome{Outcome: actions.Unsent, Detail: no.Error(), Remedy: no.Remedy}
	case errors.As(err, &no):
		return actions.Outcome{Outcome: actions.Refused, Detail: no.Error(), Remedy: no.Remedy}
	case sent:
		return actions.Outcome{Outcome: actions.Unknown, Detail: "the console has not answered: " + text.Of(err)}
	}
	_, remedy := text.SplitRemedy(c.remedied(err))
	return actions.Outcome{Outcome: actions.Unsent, Detail: "the console is not reached: " + text.Of(err), Remedy: remedy}
}

// refusedError is what the console says where it does nothing.
type refusedError struct {
	Wrong
	again bool // nothing was done, and it may be asked for again
}

func (e *refusedError) Error() string { return e.Wrong.Error }

// call asks the console. sent says that it may have heard it.
func (c *Client) call(ctx context.Context, method, path string, in, out any) (sent bool, err error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return false, err
		}
		body = bytes.NewReader(b)
	}
	var written atomic.Bool // the console may have read it
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { written.Store(true) }})
	r, err := http.NewRequestWithContext(ctx, method, c.Console+path, body)
	if err != nil {
		return false, err
	}
	r.Header.Set("Authorization", "Bearer "+c.Token)
	r.Header.Set("Content-Type", "application/json")
	got, err := c.http.Do(r)
	if err != nil {
		return written.Load(), unwrapped(err)
	}
	defer func() { _ = got.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(got.Body, MaxOrder))
	switch {
	case err != nil:
		return true, err
	case got.StatusCode == http.StatusUnauthorized:
		return false, errEnded
	case got.StatusCode != http.StatusOK:
		no := &refusedError{again: got.StatusCode == http.StatusServiceUnavailable}
		if json.Unmarshal(answer, &no.Wrong) != nil || no.Wrong.Error == "" {
			return got.StatusCode >= http.StatusInternalServerError, fmt.Errorf("it answers %s, not as a console does",
				got.Status)
		}
		return false, no
	case out == nil:
		return true, nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return true, errors.New("its answer is none of a console's")
	}
	return true, nil
}

// unwrapped is an error without the address, which who reads it knows.
func unwrapped(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
