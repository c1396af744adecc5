package shop_test

import (
	"net/http/httptest"
	"testing"

	"github.com/kumihimo/kumihimo/examples/shop"
	"github.com/kumihimo/kumihimo/obs/obstest"
)

func TestPay(t *testing.T) {
	t.Parallel()
	rec := obstest.New(t)
	req := httptest.NewRequest("POST", "/orders/7/pay", nil).WithContext(rec.Context())
	shop.New().ServeHTTP(httptest.NewRecorder(), req)
	rec.Want(`
		POST /orders/{id}/pay server http.response.status_code=200
		  pay order.id=7
		    charge cents=1200
		      DEBUG asking the bank card.token=[REDACTED]
		  INFO order paid order.id=7
		  INFO POST /orders/{id}/pay 200
	`)
}
