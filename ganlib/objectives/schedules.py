"""When a player moves, where that is no fixed interval: functions for `Phase.schedule`."""

from collections.abc import Callable


def wgan_warm_up(n_critic: int) -> Callable[[int], int]:
    """That of the generator in the code of Arjovsky et al.: it moves after 100 critic steps each of its first 25 times
    and every 500th time, else after `n_critic`."""

    def due(number: int) -> int:
        first, period = 25 * 100, 100 + 499 * n_critic
        if number <= first:
            return 100 if number % 100 == 0 else 0
        # Moves 25 to 499 (counted from 0) come after n_critic; from the 500th on, a period of 500 moves repeats.
        step = number - first
        if step > 475 * n_critic:
            step = (step - 475 * n_critic - 1) % period + 1
            if step <= 100:
                return 100 if step == 100 else 0
            step -= 100
        return n_critic if step % n_critic == 0 else 0

    return due
