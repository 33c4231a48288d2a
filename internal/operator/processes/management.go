package processes

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holdfastmq/holdfast/broker"
	"github.com/holdfastmq/holdfast/internal/addresses"
)

const (
	managementTimeout = 3 * time.Second
	bindingsTimeout   = 20 * time.Second // they come all at once
	managementPage    = 500
	managementPages   = 40       // 20,000 queues
	managementBody    = 16 << 20 // bytes of a page
)

// Management is RabbitMQ's management API, for one virtual host.
type Management struct {
	ways  []way
	vhost string
}

// way is one address of the API. Nodes of a cluster tell the same.
type way struct {
	base           *url.URL
	user, password string
	tls            func() (*tls.Config, error)
}

// NewManagement says where the API is: at the given URL, or where RabbitMQ has it
// unless it is told otherwise, beside each AMQP address with the usual port. The
// credentials are those of AMQP, unless the URL has its own; so is TLS.
func NewManagement(amqpURL string, secure broker.TLS, given string) (m Management, err error) {
	list, err := addresses.Parse(amqpURL)
	if err != nil {
		return m, errors.New("AMQP_URL cannot be read")
	}
	m.vhost = list[0].Vhost
	if given != "" {
		w := beside(list[0], secure)
		if w.base, err = url.Parse(given); err != nil || w.base.Host == "" || w.base.Scheme != "http" &&
			w.base.Scheme != "https" {
			return m, errors.New("the address of the management API is no URL: want http://host:15672")
		}
		if w.base.User != nil {
			w.user = w.base.User.Username()
			w.password, _ = w.base.User.Password()
			w.base.User = nil
		}
		m.ways = []way{w}
		return m, nil
	}
	for _, a := range list {
		w := beside(a, secure)
		switch {
		case !a.Encrypted() && a.Port == 5672:
			w.base = &url.URL{Scheme: "http", Host: net.JoinHostPort(a.Host, "15672")}
		case a.Encrypted() && a.Port == 5671:
			w.base = &url.URL{Scheme: "https", Host: net.JoinHostPort(a.Host, "15671")}
		default:
			continue
		}
		m.ways = append(m.ways, w)
	}
	if len(m.ways) == 0 {
		return m, errors.New("its address is not known")
	}
	return m, nil
}

// beside is a way to the node of an AMQP address; its base is not set.
func beside(a addresses.Address, secure broker.TLS) way {
	return way{user: a.Username, password: a.Password, tls: func() (*tls.Config, error) {
		if !a.Encrypted() { // what is trusted for AMQP is not said
			return nil, nil
		}
		c, err := secure.For(a)
		if err == nil && a.ServerName == "" {
			c.ServerName = "" // the host of the API's own address
		}
		return c, err
	}}
}

// Where names the hosts that are asked; empty: their address is not known.
func (m Management) Where() string {
	hosts := make([]string, len(m.ways))
	for i, w := range m.ways {
		hosts[i] = w.base.Host
	}
	return strings.Join(hosts, ", ")
}

// ManagedQueue is a queue as the API describes it.
type ManagedQueue struct {
	Name           string         `json:"name"`
	Type           string         `json:"type"`
	Policy         string         `json:"policy"`
	OperatorPolicy string         `json:"operator_policy"`
	Arguments      map[string]any `json:"arguments"`
	// Effective is nil where RabbitMQ does not tell it: it takes it from its
	// statistics.
	Effective Definition `json:"effective_policy_definition"`
	// Messages are those in the queue, Bytes their bodies.
	Messages float64 `json:"messages"`
	Bytes    float64 `json:"message_bytes"`
	// Unacknowledged are those that a consumer holds; nil where RabbitMQ does not tell it.
	Unacknowledged *float64 `json:"messages_unacknowledged"`
	// Head is when the message at the head was published, in seconds since 1970; RabbitMQ
	// tells it of classic queues, as a number.
	Head any `json:"head_message_timestamp"`
}

// Oldest is when the message at the queue's head was published; zero: RabbitMQ does not tell
// it, or the queue is empty.
func (q ManagedQueue) Oldest() time.Time {
	if at, ok := Number(q.Head); ok && at > 0 {
		return time.Unix(int64(at), 0)
	}
	return time.Time{}
}

// Definition is a policy's. One without keys is an empty list in the API.
type Definition map[string]any

// UnmarshalJSON implements [json.Unmarshaler].
func (d *Definition) UnmarshalJSON(text []byte) error {
	if strings.HasPrefix(strings.TrimSpace(string(text)), "[") {
		*d = Definition{}
		return nil
	}
	return json.Unmarshal(text, (*map[string]any)(d))
}

// Queues are those whose names begin with the prefix.
func (m Management) Queues(ctx context.Context, prefix string) (out []ManagedQueue, err error) {
	ctx, cancel := context.WithTimeout(ctx, managementTimeout)
	defer cancel()
	for page := 1; page <= managementPages; page++ {
		query := url.Values{"page": {strconv.Itoa(page)}, "page_size": {strconv.Itoa(managementPage)},
			"use_regex": {"true"}, "name": {"^" + regexp.QuoteMeta(prefix) + `\.`},
			"columns": {"name,type,policy,operator_policy,arguments,effective_policy_definition,messages,message_bytes," +
				"messages_unacknowledged,head_message_timestamp"}}
		var answer struct {
			Items []ManagedQueue `json:"items"`
			Pages int            `json:"page_count"`
		}
		if err := m.get(ctx, "/api/queues/"+url.PathEscape(m.vhost), query, &answer); err != nil {
			return out, err
		}
		out = append(out, answer.Items...)
		if page >= answer.Pages {
			break
		}
	}
	return out, nil
}

// ManagedExchange is an exchange as the API describes it.
type ManagedExchange struct {
	Name      string         `json:"name"`
	Policy    string         `json:"policy"`
	Arguments map[string]any `json:"arguments"`
}

// Exchanges are those whose names begin with the prefix.
func (m Management) Exchanges(ctx context.Context, prefix string) ([]ManagedExchange, error) {
	ctx, cancel := context.WithTimeout(ctx, managementTimeout)
	defer cancel()
	var all []ManagedExchange
	query := url.Values{"columns": {"name,policy,arguments"}}
	if err := m.get(ctx, "/api/exchanges/"+url.PathEscape(m.vhost), query, &all); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(e ManagedExchange) bool { return !strings.HasPrefix(e.Name, prefix+".") }), nil
}

// Policies are what each policy says, by its name. A user with the tag monitoring alone may not see
// them.
func (m Management) Policies(ctx context.Context) (map[string]Definition, error) {
	ctx, cancel := context.WithTimeout(ctx, managementTimeout)
	defer cancel()
	var all []struct {
		Name       string     `json:"name"`
		Definition Definition `json:"definition"`
	}
	if err := m.get(ctx, "/api/policies/"+url.PathEscape(m.vhost), nil, &all); err != nil {
		return nil, err
	}
	said := map[string]Definition{}
	for _, p := range all {
		said[p.Name] = p.Definition
	}
	return said, nil
}

// Binding leads from an exchange, the source, to a queue or another exchange.
type Binding struct {
	Source          string `json:"source"`
	Destination     string `json:"destination"`
	DestinationType string `json:"destination_type"`
	Key             string `json:"routing_key"`
}

// Bindings are those of the exchanges whose names begin with the prefix.
func (m Management) Bindings(ctx context.Context, prefix string) ([]Binding, error) {
	ctx, cancel := context.WithTimeout(ctx, bindingsTimeout)
	defer cancel()
	var all []Binding
	query := url.Values{"columns": {"source,destination,destination_type,routing_key"}}
	if err := m.get(ctx, "/api/bindings/"+url.PathEscape(m.vhost), query, &all); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(b Binding) bool { return !strings.HasPrefix(b.Source, prefix+".") }), nil
}

// get asks one way after the other, until one answers.
func (m Management) get(ctx context.Context, path string, query url.Values, out any) (err error) {
	for _, w := range m.ways {
		var away *url.Error
		err = w.get(ctx, path, query, out)
		if !errors.As(err, &away) {
			return err
		}
		err = away.Err // without the whole address
	}
	return err
}

func (w way) get(ctx context.Context, path string, query url.Values, out any) error {
	address := strings.TrimRight(w.base.String(), "/") + path + "?" + query.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	r.SetBasicAuth(w.user, w.password)
	// A redirection would take the credentials along.
	c := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if w.base.Scheme == "https" {
		secure, err := w.tls()
		if err != nil {
			return err
		}
		c.Transport = &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: secure, DisableKeepAlives: true}
	}
	resp, err := c.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("it refuses user %s: give it the tag monitoring or policymaker", w.user)
	default:
		return fmt.Errorf("it answers %s", resp.Status)
	}
	return json.NewDecoder(io.LimitReader(resp.Body, managementBody)).Decode(out)
}

// ConsumerTimeout is the limit that holds for a queue: its own argument's, or a policy's,
// the lesser of both, or else the server's.
func (q ManagedQueue) ConsumerTimeout(server broker.ConsumerTimeout) broker.ConsumerTimeout {
	var own []broker.ConsumerTimeout
	if ms, ok := Number(q.Arguments["x-consumer-timeout"]); ok {
		own = append(own, broker.ConsumerTimeout{Limit: time.Duration(ms) * time.Millisecond,
			Of: "the queue's argument x-consumer-timeout"})
	}
	if ms, ok := Number(q.Effective["consumer-timeout"]); ok {
		own = append(own, broker.ConsumerTimeout{Limit: time.Duration(ms) * time.Millisecond,
			Of: strings.TrimSpace(PolicyNames(q))})
	}
	if len(own) == 0 {
		return server
	}
	return slices.MinFunc(own,
		func(x, y broker.ConsumerTimeout) int { return int(x.Limit.Milliseconds() - y.Limit.Milliseconds()) })
}

// PolicyNames names the policies that a queue has.
func PolicyNames(q ManagedQueue) string {
	var names []string
	if q.Policy != "" {
		names = append(names, "policy "+q.Policy)
	}
	if q.OperatorPolicy != "" {
		names = append(names, "operator policy "+q.OperatorPolicy)
	}
	if len(names) == 0 {
		return "a policy"
	}
	return strings.Join(names, " or ")
}

// Number is a number in JSON.
func Number(v any) (float64, bool) {
	n, ok := v.(float64)
	return n, ok
}
