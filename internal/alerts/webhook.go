package alerts

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"golang.org/x/sync/errgroup"

	holdfast "github.com/holdfastmq/holdfast"
)

const (
	// webhookGiveUp is how long an alert is tried, from when it was raised.
	webhookGiveUp = 15 * time.Minute
	// webhookTimeout bounds one request.
	webhookTimeout = 10 * time.Second
	// webhookRequests is how many requests run at once, webhookWaiting how many
	// alerts are being tried: those that pause hold up no others before that.
	webhookRequests = 4
	webhookWaiting  = 64
	// webhookFirstPause and webhookLastPause are the pauses between tries; they
	// double, and vary by half.
	webhookFirstPause = time.Second
	webhookLastPause  = 2 * time.Minute
	// The length of a secret in bytes, as the specification has it.
	leastSecret, mostSecret = 24, 64
)

// Target is where alerts are posted to; the zero value is nowhere. It is what package
// worker offers as Webhook.
type Target struct {
	URL    string
	Secret string
	Client *http.Client // nil: one of our own
}

// Validate names no part of the URL or the secret: both may be secret, and are
// worth it.
func (w Target) Validate() error {
	if w.URL == "" {
		return nil
	}
	u, err := url.Parse(w.URL)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return fmt.Errorf("%w: the webhook's URL is none: want https://host/path", holdfast.ErrInvalid)
	}
	if w.Secret == "" {
		return fmt.Errorf("%w: the webhook has no secret: set one, for example of `openssl rand -base64 32`, and give it "+
			"to the receiver", holdfast.ErrInvalid)
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(w.Secret, "whsec_"))
	if err != nil {
		return fmt.Errorf("%w: the webhook's secret is not in base64, after whsec_ if it begins so: make one with `openssl "+
			"rand -base64 32`", holdfast.ErrInvalid)
	}
	if len(key) < leastSecret || len(key) > mostSecret {
		return fmt.Errorf("%w: the webhook's secret has %d bytes: want %d to %d, for example of `openssl rand -base64 32`",
			holdfast.ErrInvalid, len(key), leastSecret, mostSecret)
	}
	return nil
}

// webhook posts alerts.
type webhook struct {
	*alertQueue
	url      string
	where    string // the URL without what may be secret
	signer   *standardwebhooks.Webhook
	client   *http.Client
	idle     func() // closes idle connections of a client of our own
	requests chan struct{}
}

func newWebhook(w Target, q *alertQueue) (*webhook, error) {
	if err := w.Validate(); err != nil {
		return nil, err
	}
	signer, err := standardwebhooks.NewWebhook(w.Secret)
	if err != nil {
		return nil, fmt.Errorf("%w: the webhook's secret: %w", holdfast.ErrInvalid, err)
	}
	u, err := url.Parse(w.URL)
	if err != nil {
		return nil, fmt.Errorf("%w: the webhook's URL", holdfast.ErrInvalid)
	}
	h := &webhook{alertQueue: q, url: w.URL, where: u.Scheme + "://" + u.Host, signer: signer, client: w.Client,
		idle: func() {}, requests: make(chan struct{}, webhookRequests)}
	if h.client == nil {
		// The transport is not shared, so that its connections end with us.
		transport := &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true,
			MaxConnsPerHost: webhookRequests, IdleConnTimeout: time.Minute, TLSHandshakeTimeout: webhookTimeout}
		h.client = &http.Client{Transport: transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		h.idle = transport.CloseIdleConnections
	}
	return h, nil
}

func (h *webhook) run(stopping, hard context.Context) {
	defer h.end()
	defer h.idle()
	var trying errgroup.Group
	trying.SetLimit(webhookWaiting)
	for {
		e, ok := h.next(stopping, hard)
		if !ok {
			break
		}
		trying.Go(func() error {
			h.deliver(stopping, hard, e)
			return nil
		})
	}
	_ = trying.Wait() // they return none
}

// deliver posts an alert until that succeeds, is refused, or takes too long. Once
// stopping is done it is posted once more at most.
func (h *webhook) deliver(stopping, hard context.Context, e queued) {
	body, err := json.Marshal(e.alert)
	if err != nil {
		h.drop(e.alert, whyFailed, err)
		return
	}
	id := alertID(body)
	pauses := backoff.ExponentialBackOff{InitialInterval: webhookFirstPause, MaxInterval: webhookLastPause, Multiplier: 2,
		RandomizationFactor: 0.5}
	pauses.Reset()
	for try := 1; ; try++ {
		last := stopping.Err() != nil
		after, err := h.post(hard, id, body)
		pause := max(after, pauses.NextBackOff())
		switch {
		case err == nil:
			return
		case errors.As(err, new(refusal)):
			h.drop(e.alert, whyRefused, err)
			return
		case last:
			h.drop(e.alert, whyShutdown, err)
			return
		case time.Since(e.since)+pause > webhookGiveUp:
			h.drop(e.alert, whyFailed, err)
			return
		case try == 1:
			h.log.Warn("an alert was not posted yet", "to", h.where, "error", err, "next", pause)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-stopping.Done():
			timer.Stop()
		}
	}
}

// alertID is the same for the same alert, however often it is posted: receivers
// may know repetitions by it. A workflow task that is run again raises a new one.
func alertID(body []byte) string {
	sum := sha256.Sum256(body)
	return "alert_" + hex.EncodeToString(sum[:16])
}

// refusal is an answer that a repetition would not change.
type refusal struct{ status, where string }

func (r refusal) Error() string {
	if strings.HasPrefix(r.status, "3") {
		return r.where + " answered " + r.status + ": redirects are not followed; set the webhook's URL to where it leads"
	}
	return r.where + " answered " + r.status + ": see that the receiver takes Standard Webhooks at this URL, with the " +
		"same secret"
}

// post makes one request. after is what the server asks to wait before the next.
// No error names the URL.
func (h *webhook) post(ctx context.Context, id string, body []byte) (after time.Duration, err error) {
	select {
	case h.requests <- struct{}{}:
		defer func() { <-h.requests }()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, webhookTimeout)
	defer cancel()
	now := time.Now()
	signature, err := h.signer.Sign(id, now, body)
	if err != nil {
		return 0, fmt.Errorf("sign for %s: %w", h.where, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url, bytes.NewReader(body))
	if err != nil {
		return 0, fmt.Errorf("post to %s: %w", h.where, withoutURL(err))
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "holdfast")
	req.Header.Set(standardwebhooks.HeaderWebhookID, id)
	req.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	req.Header.Set(standardwebhooks.HeaderWebhookSignature, signature)
	res, err := h.client.Do(req)
	if err != nil {
		return 0, fmt.Errorf("post to %s: %w", h.where, withoutURL(err))
	}
	defer res.Body.Close()
	_, _ = io.CopyN(io.Discard, res.Body, 64<<10) // so that the connection can be used again
	status := strconv.Itoa(res.StatusCode) + " " + http.StatusText(res.StatusCode)
	switch {
	case res.StatusCode >= 200 && res.StatusCode < 300:
		return 0, nil
	case res.StatusCode == http.StatusTooManyRequests || res.StatusCode >= 500:
		return retryAfter(res.Header), fmt.Errorf("%s answered %s", h.where, status)
	}
	return 0, refusal{status, h.where}
}

// retryAfter is what the header asks for in seconds; it may also be a date, which
// is not worth two clocks.
func retryAfter(header http.Header) time.Duration {
	seconds, err := strconv.Atoi(header.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return time.Duration(min(seconds, int(webhookGiveUp/time.Second))) * time.Second
}

// withoutURL removes what net/http adds to errors: the URL, with its query.
func withoutURL(err error) error {
	for named := (*url.Error)(nil); errors.As(err, &named); {
		err = named.Err
	}
	return err
}
