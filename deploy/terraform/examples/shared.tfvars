# One agent for many services, called with Google ID tokens.
project      = "acme-shop"
region       = "europe-west1"
datadog_site = "datadoghq.eu"

service = {
  name    = "shop"
  image   = "europe-west1-docker.pkg.dev/acme-shop/shop/shop:1.4.0"
  args    = ["-addr", ":8080"]
  version = "1.4.0"
}
