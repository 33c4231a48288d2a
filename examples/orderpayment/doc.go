// Orderpayment is four services, each a process with a database of its own: order,
// stock, payment and shipping. Whatever is killed in between, an order that stands
// is paid exactly once and its goods are on their way, and one that does not has
// cost nothing.
//
//	orderpayment order     POST /checkouts and POST /orders, on LISTEN
//	orderpayment stock     sets goods aside, and releases them
//	orderpayment payment   charges, and refunds
//	orderpayment shipping  ships, and recalls
//
// POST /checkouts runs the saga order-payment: the order service steers, the others
// are its participants. POST /orders is the same business with one transactional
// message, order.placed, which stock and payment consume; a payment that fails for
// good is compensated.
//
// All read AMQP_URL and DATABASE_URL, order and payment also Temporal's own
// TEMPORAL_* variables.
//
//	saga.go      the saga, and its local steps
//	checkout.go  the saga, as the order service's clients see it
//	order.go     the order service's transactional message
//	stock.go     the stock service
//	payment.go   the payment service
//	shipping.go  the shipping service
//	topics.go    what the services tell each other
//	service.go   what all of them need to run
//	unruly.go    ways to misbehave, for the demo
//	moods.go     ways for charging and shipping to fail, for the demo
package main
