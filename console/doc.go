// Package console is Holdfast's web console: what needs a person now, and the forms by which
// people on duty mend it. `holdfast console` serves it; New makes it for a server of your own:
//
//	users, err := os.Open("users")
//	…
//	c, err := console.New(ctx, console.Options{Users: users, SecureCookies: true})
//	…
//	defer c.Close()
//	server := c.Server()
//	server.Addr = ":8443"
//	err = server.ListenAndServeTLS("cert.pem", "key.pem")
//
// It is mounted at the root of a host, since its pages lead to each other by their paths. Where
// RabbitMQ, PostgreSQL and Temporal are, the environment says, as for the command line.
package console
