# An agent beside each instance of one service: no tokens, nothing shared.
project      = "acme-shop"
region       = "europe-west1"
datadog_site = "datadoghq.eu"
sidecar      = true

service = {
  name    = "shop"
  image   = "europe-west1-docker.pkg.dev/acme-shop/shop/shop:1.4.0"
  args    = ["-addr", ":8080"]
  version = "1.4.0"
}
