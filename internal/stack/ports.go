package stack

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
)

const loopback = "127.0.0.1"

// freePort finds a port that nothing listens on and that is outside the range
// the kernel takes ports for outgoing connections from. A port inside it could
// be taken by anybody's connection while a killed part is down, even by a client
// that keeps trying to reach that very port and so connects to itself.
func freePort() (int, error) {
	if port := freeBetween(20000, ephemeralLow()); port != 0 {
		return port, nil
	}
	l, err := net.Listen("tcp", net.JoinHostPort(loopback, "0"))
	if err != nil {
		return 0, fmt.Errorf("no free port on %s: %w", loopback, err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// freeSmallPort finds one below 1<<15; if it can, one that freePort might find.
func freeSmallPort() (int, error) {
	const high = 1 << 15
	for _, low := range []int{min(high, ephemeralLow()), high} {
		if port := freeBetween(20000, low); port != 0 {
			return port, nil
		}
	}
	return 0, fmt.Errorf("no free port on %s below %d", loopback, high)
}

// freeBetween tries ports from low to below high; 0 means that none was found.
func freeBetween(low, high int) int {
	if high <= low {
		return 0
	}
	for range 200 {
		if port := low + rand.IntN(high-low); portFree(port) {
			return port
		}
	}
	return 0
}

// portFree says whether the port could be listened on just now.
func portFree(port int) bool {
	l, err := net.Listen("tcp", address(port))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// ephemeralLow is the first port that the kernel gives to outgoing connections.
func ephemeralLow() int {
	const fallback = 32768
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return fallback
	}
	fields := strings.Fields(string(text))
	if len(fields) == 0 {
		return fallback
	}
	low, err := strconv.Atoi(fields[0])
	if err != nil {
		return fallback
	}
	return low
}

func address(port int) string { return net.JoinHostPort(loopback, strconv.Itoa(port)) }

// inUse recognises in a log that a part died because a port was taken.
func inUse(log string) bool {
	log = strings.ToLower(log)
	for _, s := range []string{"address already in use", "address in use",
		"eaddrinuse", "dist_port_already_used", "can't set "} {
		if strings.Contains(log, s) {
			return true
		}
	}
	return false
}

// ports are a part's ports by purpose.
type ports map[string]int

// fill gives every purpose that has no port, or one that is taken, a free one.
func (p ports) fill(purposes ...string) error { return p.fillFrom(freePort, purposes...) }

// fillFrom is fill with another source of ports.
func (p ports) fillFrom(free func() (int, error), purposes ...string) error {
	taken := make(map[int]bool, len(p))
	for purpose, port := range p {
		if !slices.Contains(purposes, purpose) {
			taken[port] = true
		}
	}
	for _, purpose := range purposes {
		port := p[purpose]
		for port == 0 || taken[port] || !portFree(port) {
			var err error
			if port, err = free(); err != nil {
				return err
			}
		}
		p[purpose] = port
		taken[port] = true
	}
	return nil
}
