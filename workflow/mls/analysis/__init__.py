"""From raw request records to figures that can be trusted. Knows neither HTTP nor MPI."""
