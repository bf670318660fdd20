"""The picture to look at, and the buttons that choose another."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QToolButton, QVBoxLayout, QWidget

from app.protocol.payloads import Image
from app.widgets.icons import icon
from app.widgets.image_view import ImageView


class PictureField(QWidget):
    """Shows one picture, or says which stands for none."""

    file_wanted = Signal()
    scene_wanted = Signal()
    removed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.view = ImageView(title="Picture")
        self.view.setFixedHeight(190)
        self.view.set_placeholder("The scene of the built-in world with this seed, or a picture of your own.")
        scene = QPushButton("Scene", toolTip="A scene of the built-in world; where words count, with its caption as the text")
        file = QPushButton("Open …", toolTip="A picture from a file")
        self.remove = QToolButton(toolTip="No picture of one's own", accessibleName="Remove the picture", enabled=False)
        self.remove.setIcon(icon("close"))
        column, buttons = QVBoxLayout(self), QHBoxLayout()
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        for button, signal in ((scene, self.scene_wanted), (file, self.file_wanted), (self.remove, self.removed)):
            button.clicked.connect(signal)
            buttons.addWidget(button)
        buttons.addStretch(1)
        column.addWidget(self.view)
        column.addLayout(buttons)

    def set_picture(self, picture: Image | None) -> None:
        """Show a picture; None: there is none of one's own."""
        self.view.set_image(picture)
        self.remove.setEnabled(picture is not None)
